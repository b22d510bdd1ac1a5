"""A suspended job can say what is to be done when it goes on, while its process lives; nothing depends on it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from glidemq import Job, Signal, SuspendError, SyncJob, ValidationError, Worker
from tests.promises.places import AnyQueue, Processed
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


async def suspended(queue: AnyQueue, job_id: str, waits: int = 1) -> None:
    """Until it waits, after so many signals less one."""

    async def is_suspended() -> bool:
        info = await queue.get_suspend_info(job_id)
        return info is not None and len(info.signals) == waits - 1

    await eventually(is_suspended, f"job {job_id} waits for signal {waits}")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_job_goes_on_where_it_said_each_time_and_in_hand_of_its_own_new_run(
    processed: Processed, kind: str
) -> None:
    async with processed("tests.promises.suspend_app:app", f"{kind}-resumed") as queue:
        job = await queue.add("ask", 2)
        assert job is not None
        for number in (1, 2):
            await suspended(queue, job.id, number)
            assert await queue.signal(job.id, f"signal {number}") is True
        assert await job.wait_until_finished(poll=0.01) == "completed"
        assert job.return_value == ["signal 1", "signal 2"]
        assert (await queue.get_job_logs(job.id)).logs == ["resumed", "resumed"]
        assert job.attempts_made == 0


async def test_job_that_has_gone_on_elsewhere_meanwhile_runs_from_the_start(
    server: ValkeyServer, queue_name: str
) -> None:
    runs: list[str] = []
    is_busy, may_end = asyncio.Event(), asyncio.Event()

    def processor(name: str) -> Any:
        async def ask(job: Job[Any, Any]) -> Any:
            async def go_on(signals: tuple[Signal, ...]) -> str:
                return "stale"

            if job.name == "occupy":
                is_busy.set()
                await may_end.wait()
                return None
            runs.append(name)
            if len(job.signals) < 2:
                await job.suspend(on_resume=go_on if name == "first" else None)
            return "fresh"

        return ask

    async with (
        AnyQueue(queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, processor("first"), connection=server.url),
    ):
        job = await queue.add("ask", None)
        assert job is not None
        await suspended(queue, job.id)
        await queue.add("occupy", None)
        await is_busy.wait()
        async with Worker[Any, Any](queue_name, processor("second"), connection=server.url):
            await queue.signal(job.id, "one")
            await suspended(queue, job.id, 2)
        await queue.signal(job.id, "two")
        may_end.set()
        assert await job.wait_until_finished(poll=0.01) == "completed"
    assert runs == ["first", "second", "first"]
    assert job.return_value == "fresh"


async def test_job_that_was_given_back_before_it_could_go_on_does_so_afterwards(
    server: ValkeyServer, queue_name: str
) -> None:
    """Short jobs are fetched ahead; those that then wait behind a long one go back to the queue."""

    def ask(job: SyncJob[Any, Any]) -> str:
        def go_on(signals: tuple[Signal, ...]) -> str:
            time.sleep(0.06 if job.data % 10 == 0 else 0)
            return "goes on"

        if not job.signals:
            job.suspend(on_resume=go_on)
        return "starts over"

    async with (
        AnyQueue(queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, ask, connection=server.url),
    ):
        jobs = await queue.add_bulk([("ask", number) for number in range(200)])
        for job in jobs:
            await suspended(queue, job.id)
        for job in jobs:
            await queue.signal(job.id, "go")
        for job in jobs:
            assert await job.wait_until_finished(poll=0.01) == "completed"
    assert {job.return_value for job in jobs} == {"goes on"}


async def test_failure_of_what_is_done_then_is_an_attempt_and_the_next_one_starts_over(
    server: ValkeyServer, queue_name: str
) -> None:
    def ask(job: SyncJob[Any, Any]) -> Any:
        def go_on(signals: tuple[Signal, ...]) -> None:
            raise LookupError(signals[0].name)

        if not job.signals:
            raise SuspendError(on_resume=go_on)
        return job.attempts_made

    async with (
        AnyQueue(queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, ask, connection=server.url),
    ):
        job = await queue.add("ask", None, attempts=2)
        assert job is not None
        await suspended(queue, job.id)
        await queue.signal(job.id, "wrong")
        assert await job.wait_until_finished(poll=0.01) == "completed"
        assert job.return_value == 1


async def test_what_cannot_be_called_is_refused(server: ValkeyServer, queue_name: str) -> None:
    async def ask(job: Job[Any, Any]) -> str:
        try:
            await job.suspend(on_resume="later")  # type: ignore[arg-type]
        except ValidationError as error:
            return str(error)

    async with (
        AnyQueue(queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, ask, connection=server.url),
    ):
        assert "on_resume must be a function" in await queue.add_and_wait("ask", None)
