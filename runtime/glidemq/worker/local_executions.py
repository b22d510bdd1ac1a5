"""Running jobs in this process: coroutines on its loop, plain functions on threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from glidemq.commands.command import Command
from glidemq.commands.fail import REVOKED_REASON
from glidemq.connection.connection import Connection
from glidemq.pipeline.execution import AsyncExecution, LoopAbortFlag, SyncExecution
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.outcome import TIMEOUT_REASON, JobOutcome, failed, read_options
from glidemq.processor import Processor
from glidemq.rings.cancel_board import CancelReason

R = TypeVar("R")

log = logging.getLogger("glidemq.worker")


class _LocalExecution:
    """The abort flags of the jobs that run here.

    Owns: one flag per running job. Written by: the event loop. Read by: the jobs.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._flags: dict[int, LoopAbortFlag] = {}

    def abort(self, lease: Lease, reason: CancelReason) -> None:
        """Set the running job's abort signal."""
        flag = self._flags.get(lease.seq)
        if flag is not None:
            flag.set(reason)

    def hurry(self) -> None:
        """Nobody waits for company here."""


class TaskExecution(_LocalExecution):
    """Runs an `async def` processor as tasks of the running loop."""

    def __init__(
        self,
        processor: Processor[Any, Any],
        queue: str,
        queue_key: str,
        connection: Connection,
        *,
        concurrency: int,
        kill_grace_s: float,
    ) -> None:
        super().__init__(concurrency)
        self._execution = AsyncExecution(processor, queue, queue_key, connection, kill_grace_s=kill_grace_s)

    async def run_local(self, lease: Lease) -> JobOutcome:
        """Run the job to its end."""
        flag = self._flags[lease.seq] = LoopAbortFlag()
        flag.task = asyncio.current_task()
        try:
            return await self._execution.run(lease.blob, flag)
        finally:
            del self._flags[lease.seq]

    def end(self, lease: Lease) -> None:
        """Cancel the job's coroutine."""
        flag = self._flags.get(lease.seq)
        if flag is not None:
            flag.end()

    def close(self) -> None:
        """Nothing to release: tasks belong to the loop."""


class ThreadExecution(_LocalExecution):
    """Runs a plain `def` processor on threads, `concurrency` at a time.

    A thread cannot be ended from outside. A job that overruns its timeout, or was revoked and is to end by force, is
    failed, its abort signal set and its late result discarded; until the function returns, its thread counts as
    occupied.
    """

    def __init__(
        self,
        processor: Processor[Any, Any],
        queue: str,
        queue_key: str,
        connection: Connection,
        *,
        concurrency: int,
        on_thread_freed: Callable[[], None],
    ) -> None:
        """on_thread_freed: called when a function returns that had been given up, and its thread can be used again."""
        super().__init__(concurrency)
        self._on_thread_freed = on_thread_freed
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix=f"glidemq-{queue}")
        self._strategies = processor.backoff_strategies
        self._ends: dict[int, asyncio.Future[None]] = {}  # done once the job is not waited for any longer
        self._execution = SyncExecution(processor, queue, queue_key, self._execute)

    def _execute(self, command: Command[R]) -> R:
        """Called on a job's thread: have the loop execute a command, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(self._connection.execute(command), self._loop).result()

    async def run_local(self, lease: Lease) -> JobOutcome:
        """Run the job to its end, or to its timeout."""
        flag = self._flags[lease.seq] = LoopAbortFlag()
        future = self._loop.run_in_executor(self._threads, self._execution.run, lease.blob, flag)
        timeout_ms = lease.timeout_ms
        end = self._ends[lease.seq] = self._loop.create_future()
        try:
            await asyncio.wait(
                {future, end},
                timeout=timeout_ms / 1000 if timeout_ms else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            del self._flags[lease.seq], self._ends[lease.seq]
        if future.done():
            return future.result()
        flag.set(CancelReason.TIMEOUT)
        self.concurrency -= 1
        future.add_done_callback(self._thread_returned)
        fence = (*lease.fence, lease.entry_id)
        if end.done():
            return failed(fence, REVOKED_REASON, read_options(lease.opts), attempts_made=0, for_good=True)
        log.warning(
            "job %s of %r overran its timeout of %.3g s; its thread goes on until the function returns",
            lease.id.decode(errors="replace"),
            lease.pump.queue,
            timeout_ms / 1000,
        )
        return failed(
            fence,
            TIMEOUT_REASON,
            read_options(lease.opts),
            attempts_made=lease.attempts_made,
            error=TimeoutError(TIMEOUT_REASON),
            strategies=self._strategies,
        )

    def end(self, lease: Lease) -> None:
        """Wait for the job's function no longer."""
        end = self._ends.get(lease.seq)
        if end is not None and not end.done():
            end.set_result(None)

    def _thread_returned(self, future: asyncio.Future[Any]) -> None:
        self.concurrency += 1
        if not future.cancelled():
            future.exception()
        self._on_thread_freed()

    def close(self) -> None:
        """Let go of the threads; those that still run end with their function."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def execution_of(
    processor: Processor[Any, Any],
    queue: str,
    queue_key: str,
    connection: Connection,
    *,
    kill_grace_s: float,
    on_thread_freed: Callable[[], None],
) -> TaskExecution | ThreadExecution:
    """What runs the processor, one job at a time: tasks for a coroutine function, threads for a plain one."""
    concurrency = processor.concurrency
    if processor.role == "async":
        return TaskExecution(
            processor, queue, queue_key, connection, concurrency=concurrency, kill_grace_s=kill_grace_s
        )
    return ThreadExecution(
        processor, queue, queue_key, connection, concurrency=concurrency, on_thread_freed=on_thread_freed
    )
