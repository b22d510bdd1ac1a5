"""The event loop of an async actor goes on turning, whatever its jobs and its gateway do."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from glidemq import Job
from glidemq.process import async_actor
from glidemq.rings.cancel_board import CancelReason
from glidemq.rings.records import Record, RecordKind
from glidemq.shared_memory import Control, ProcessState
from tests.process.one_actor import OneProcess
from tests.shared_memory.forked import Forked, wait_until


def run_beside(one: OneProcess, gateway: Callable[[], None]) -> int:
    """Run the actor while a thread plays its gateway, and have it drained at the end; its exit status."""
    failures: list[BaseException] = []

    def play() -> None:
        try:
            wait_until(lambda: one.page.state is ProcessState.READY, deadline_s=10)
            gateway()
        except BaseException as error:
            failures.append(error)
        finally:
            one.page.control = Control.DRAIN
            one.actor_bell.ring_always()

    thread = threading.Thread(target=play)
    thread.start()
    status = async_actor.run(one.context)
    thread.join()
    if failures:
        raise failures[0]
    return status


def test_jobs_go_on_while_an_outcome_waits_for_room() -> None:
    """The server is away and the ring is full: the loop beats, so that nobody takes it for hung."""
    ticks: list[float] = []

    async def process(job: Job[Any, Any]) -> None:
        if job.data == "ticks":
            while len(ticks) < 20:
                ticks.append(time.monotonic())
                await asyncio.sleep(0.01)

    def in_child() -> None:
        one = OneProcess(process, concurrency=2)
        found: list[Record] = []

        def gateway() -> None:
            one.outcomes()  # its manifest
            one.fill_ring()
            one.push(b'"ends"')
            one.actor_bell.ring_always()
            wait_until(lambda: one.page.jobs_done == 1, deadline_s=5)
            beat = one.page.beat_ns
            one.push(b'"ticks"')
            one.actor_bell.ring_always()
            wait_until(lambda: len(ticks) == 20, deadline_s=5)
            wait_until(lambda: one.page.beat_ns != beat, deadline_s=5)
            assert len(one.gateway.ledger.states()) == 2, "a job is in nobody's hands"
            wait_until(lambda: found.extend(one.outcomes()) or len(found) == 2, deadline_s=5)
            assert [record.seq for record in found] == [1, 2]
            wait_until(lambda: not one.gateway.ledger.states(), deadline_s=5)

        assert run_beside(one, gateway) == 0

    with Forked(in_child) as child:
        child.join()


def test_an_abort_right_after_the_start_is_heard() -> None:
    """The job has started for the gateway, and its task has not taken its first step."""
    aborted: list[bool] = []

    async def process(job: Job[Any, Any]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                await job.abort_signal.wait()
        aborted.append(job.abort_signal.aborted)

    def in_child() -> None:
        one = OneProcess(process)
        start = one.context.side.start

        def start_then_abort(activation: Any) -> int:
            reason = start(activation)
            seq = activation.record.seq
            one.gateway.cancel(seq, CancelReason.ABORT)
            one.gateway.replies.try_push(RecordKind.ABORT, seq, b"", bytes((CancelReason.ABORT,)))
            return reason

        class Side:
            """The actor's side, with the gateway's abort at the worst moment."""

            def __getattr__(self, name: str) -> Any:
                return start_then_abort if name == "start" else getattr(side, name)

        side, one.context.side = one.context.side, Side()  # type: ignore[assignment]

        def gateway() -> None:
            one.push()
            one.actor_bell.ring_always()
            wait_until(lambda: one.page.jobs_done == 1, deadline_s=5)

        run_beside(one, gateway)
        assert aborted == [True]

    with Forked(in_child) as child:
        child.join()


def test_a_coroutine_that_ignores_its_cancellation_does_not_keep_the_process() -> None:
    async def process(job: Job[Any, Any]) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    def in_child() -> None:
        one = OneProcess(process, kill_grace=0.05, timeout=0.05)

        def gateway() -> None:
            one.push()
            one.actor_bell.ring_always()
            wait_until(lambda: one.page.jobs_failed == 1, deadline_s=5)

        began = time.monotonic()
        assert run_beside(one, gateway) == 0
        assert time.monotonic() - began < 10

    with Forked(in_child) as child:
        child.join(deadline_s=20)
