"""Running batches of jobs in this process."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from glidemq.commands.command import Command
from glidemq.connection.connection import Connection
from glidemq.options import BatchRule
from glidemq.pipeline.batch_execution import AsyncBatchExecution, SyncBatchExecution
from glidemq.pipeline.execution import Activated, LoopAbortFlag
from glidemq.pipeline.gathering import Gathering
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.outcome import JobOutcome
from glidemq.processor import Processor
from glidemq.rings.cancel_board import CancelReason

R = TypeVar("R")

log = logging.getLogger("glidemq.worker")


class _Member:
    """One job: its lease, its abort flag, and where its outcome is awaited."""

    __slots__ = ("batch", "flag", "lease", "outcome")

    def __init__(self, lease: Lease, outcome: asyncio.Future[JobOutcome]) -> None:
        self.lease = lease
        self.flag = LoopAbortFlag()
        self.outcome = outcome
        self.batch: asyncio.Task[None] | None = None

    def activated(self) -> Activated:
        return Activated(self.lease.blob, self.flag, urgent=False)


class _LocalBatches(ABC):
    """Gathers the jobs that the link starts, and runs them in batches.

    Owns: the jobs that wait for company, a timer for them, and the tasks of the running batches. To the link each job
    runs from the moment it is here; how many may be here follows from the batches that run.
    """

    def __init__(self, rule: BatchRule, lanes: int) -> None:
        self._gathering: Gathering[_Member] = Gathering(rule, lanes)
        self._members: dict[int, _Member] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def concurrency(self) -> int:
        """How many jobs may be here: those that are, and those who would start without waiting for a batch to end."""
        return len(self._members) + self._gathering.room

    def abort(self, lease: Lease, reason: CancelReason) -> None:
        """Set the abort signal of one job of a batch; the others are not concerned."""
        member = self._members.get(lease.seq)
        if member is not None:
            member.flag.set(reason)

    def end(self, lease: Lease) -> None:
        """Set the signal and no more: a batch is not ended for the sake of one of its jobs."""
        self.abort(lease, CancelReason.ABORT)

    async def run_local(self, lease: Lease) -> JobOutcome:
        """Let the job join a batch, and wait for its own outcome."""
        member = self._members[lease.seq] = _Member(lease, self._loop.create_future())
        self._gathering.add(member)
        # Those who come in the same turn of the loop come together.
        self._look_in(0)
        try:
            return await member.outcome
        except asyncio.CancelledError:  # a forced close, which ends the whole batch
            if not self._gathering.remove(member) and member.batch is not None:
                member.batch.cancel()
            raise
        finally:
            del self._members[lease.seq]

    def hurry(self) -> None:
        """Nobody else will come: run what has gathered."""
        self._run_batches(hurry=True)

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._run_batches)

    def _run_batches(self, *, hurry: bool = False) -> None:
        while batch := self._gathering.next_batch(hurry=hurry):
            task = self._loop.create_task(self._run(batch))
            for member in batch:
                member.batch = task
        due_s = self._gathering.due_s()
        if due_s is not None:
            self._look_in(due_s)

    async def _run(self, batch: Sequence[_Member]) -> None:
        try:
            outcomes = await self._outcomes(batch)
        finally:
            self._lane_freed()
        for member, outcome in zip(batch, outcomes, strict=True):
            if not member.outcome.done():
                member.outcome.set_result(outcome)

    def _lane_freed(self) -> None:
        self._gathering.free_lanes += 1
        self._run_batches()

    @abstractmethod
    async def _outcomes(self, batch: Sequence[_Member]) -> list[JobOutcome]:
        """Run the processor on these jobs; never raises."""

    @abstractmethod
    def close(self) -> None:
        """Release what the batches ran on."""


class TaskBatches(_LocalBatches):
    """Runs an `async def` batch processor as tasks of the running loop."""

    def __init__(
        self,
        processor: Processor[Any, Any],
        rule: BatchRule,
        queue_key: str,
        connection: Connection,
        *,
        kill_grace_s: float,
    ) -> None:
        super().__init__(rule, processor.concurrency)
        self._execution = AsyncBatchExecution(
            processor, processor.queue, queue_key, connection, kill_grace_s=kill_grace_s
        )

    async def _outcomes(self, batch: Sequence[_Member]) -> list[JobOutcome]:
        return await self._execution.run([member.activated() for member in batch])

    def close(self) -> None:
        """Nothing to release: tasks belong to the loop."""


class ThreadBatches(_LocalBatches):
    """Runs a plain `def` batch processor on threads, one per batch.

    A thread cannot be ended from outside: the jobs of a batch that overruns are failed and their abort signals set;
    until the function returns, its lane counts as occupied.
    """

    def __init__(
        self,
        processor: Processor[Any, Any],
        rule: BatchRule,
        queue_key: str,
        connection: Connection,
        *,
        on_thread_freed: Callable[[], None],
    ) -> None:
        """on_thread_freed: called when a function returns that had been given up, and its thread can be used again."""
        super().__init__(rule, processor.concurrency)
        self._on_thread_freed = on_thread_freed
        self._connection = connection
        self._threads = ThreadPoolExecutor(
            processor.concurrency, thread_name_prefix=f"glidemq-{processor.queue}"
        )
        self._execution = SyncBatchExecution(processor, processor.queue, queue_key, self._execute)

    def _execute(self, command: Command[R]) -> R:
        """Called on a batch's thread: have the loop execute a command, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(self._connection.execute(command), self._loop).result()

    async def _outcomes(self, batch: Sequence[_Member]) -> list[JobOutcome]:
        runs = [member.activated() for member in batch]
        timeout_ms = self._execution.timeout_ms(runs)
        future = self._loop.run_in_executor(self._threads, self._execution.run, runs)
        done, _ = await asyncio.wait({future}, timeout=timeout_ms / 1000 if timeout_ms else None)
        if done:
            return future.result()
        for member in batch:
            member.flag.set(CancelReason.TIMEOUT)
        self._gathering.free_lanes -= 1
        future.add_done_callback(self._thread_returned)
        log.warning(
            "the thread of a batch of %r that overran its timeout goes on until the function returns",
            batch[0].lease.pump.queue,
        )
        return self._execution.overran(runs)

    def _thread_returned(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled():
            future.exception()
        self._lane_freed()
        self._on_thread_freed()

    def close(self) -> None:
        """Let go of the threads; those that still run end with their function."""
        self._threads.shutdown(wait=False, cancel_futures=True)
