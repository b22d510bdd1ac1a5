"""Waiting for the end of a job: by its queue's events, by looking at it, in time or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import valkey

from glidemq import (
    GlideMQError,
    Job,
    JobFailedError,
    JobNotFoundError,
    JobStateError,
    JobTimeoutError,
    Queue,
    SharedClient,
    SyncJob,
    UnrecoverableError,
    ValidationError,
    Worker,
)
from tests.client.conftest import AnyQueue
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

Start = Callable[..., Any]


@pytest.fixture
async def start_worker(server: ValkeyServer, queue: AnyQueue) -> AsyncIterator[Start]:
    started: list[Worker[Any, Any]] = []

    async def start(processor: Callable[[Any], Any], **options: Any) -> None:
        worker = Worker[Any, Any](queue.name, processor, connection=server.url, **options)
        started.append(worker)
        await worker.start()

    yield start
    for worker in started:
        await worker.close(force=True)


async def answer(job: Job[Any, Any]) -> Any:
    if job.data == "fail":
        raise UnrecoverableError("no answer")
    if job.data == "flaky" and job.attempts_made == 0:
        raise ValueError("at first")
    return {"answer": job.data}


def waiting_connections(raw: valkey.Valkey) -> int:
    clients: Any = raw.client_list()
    return sum(client["name"] == "glidemq-wait" for client in clients)


# -- add_and_wait --------------------------------------------------------------------------------------------


async def test_the_result_comes_back_and_the_connection_goes(
    queue: AnyQueue, raw: valkey.Valkey, start_worker: Start
) -> None:
    await start_worker(answer)
    assert await queue.add_and_wait("n", 5) == {"answer": 5}
    assert await queue.add_and_wait("n", "flaky", attempts=2, wait_timeout=20) == {"answer": "flaky"}
    await eventually(lambda: waiting_connections(raw) == 0, what="closed connections")


async def test_many_wait_at_once_and_each_gets_its_own(queue: AnyQueue, start_worker: Start) -> None:
    await start_worker(answer, concurrency=10)
    results = await asyncio.gather(*(queue.add_and_wait("n", n) for n in range(10)))
    assert results == [{"answer": n} for n in range(10)]


async def test_no_result_is_none(queue: AnyQueue, start_worker: Start) -> None:
    async def nothing(job: Job[Any, Any]) -> None:
        return None

    await start_worker(nothing)
    assert await queue.add_and_wait("n", 1) is None


async def test_failure_is_raised_with_its_reason(queue: AnyQueue, start_worker: Start) -> None:
    await start_worker(answer)
    with pytest.raises(JobFailedError, match=r"^no answer$"):
        await queue.add_and_wait("n", "fail", attempts=3)


async def waits_for(queue: AnyQueue, job_id: str) -> None:
    await eventually(lambda: exists(queue, job_id), what="the added job")


async def exists(queue: AnyQueue, job_id: str) -> bool:
    return await queue.get_job(job_id) is not None


async def test_revoked_and_removed_jobs_end_the_waiting(queue: AnyQueue) -> None:
    revoked = asyncio.create_task(queue.add_and_wait("n", 1, job_id="a"))
    removed = asyncio.create_task(queue.add_and_wait("n", 1, job_id="b"))
    await waits_for(queue, "a")
    await waits_for(queue, "b")
    await queue.revoke("a")
    await queue.remove("b")
    with pytest.raises(JobFailedError, match=r"^revoked$|^Job a ended with event 'revoked'$"):
        await revoked
    with pytest.raises(JobNotFoundError, match="Job b was removed"):
        await removed


async def test_result_is_found_without_events(queue: AnyQueue, start_worker: Start) -> None:
    await start_worker(answer, events=False)
    began = time.monotonic()
    assert await queue.add_and_wait("n", 5) == {"answer": 5}
    assert time.monotonic() - began < 20  # well before the time-out of 30 s


async def test_waiting_survives_a_lost_connection(
    queue: AnyQueue, raw: valkey.Valkey, start_worker: Start
) -> None:
    waiting = asyncio.create_task(queue.add_and_wait("n", 5, job_id="x"))
    await waits_for(queue, "x")
    clients: Any = raw.client_list()
    for client in clients:
        if client["name"] == "glidemq-wait":
            raw.client_kill_filter(_id=client["id"])
    await start_worker(answer)
    assert await waiting == {"answer": 5}


async def test_time_is_up_but_the_job_stays(queue: AnyQueue) -> None:
    with pytest.raises(JobTimeoutError, match=r"^Job x did not finish within 0\.05 s$") as caught:
        await queue.add_and_wait("n", 1, job_id="x", wait_timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert await queue.count() == 1


async def test_cancelled_waiting_closes_its_connection(queue: AnyQueue, raw: valkey.Valkey) -> None:
    waiting = asyncio.create_task(queue.add_and_wait("n", 1, job_id="x"))
    await waits_for(queue, "x")
    await eventually(lambda: waiting_connections(raw) == 1, what="the waiting connection")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await eventually(lambda: waiting_connections(raw) == 0, what="closed connections")


@pytest.mark.parametrize("wait_timeout", [0, -1, float("inf"), float("nan"), "5", None])
async def test_bad_wait_timeout_is_refused(unreachable: AnyQueue, wait_timeout: Any) -> None:
    with pytest.raises(ValidationError, match=r"^wait_timeout must be a positive finite number$"):
        await unreachable.add_and_wait("n", 1, wait_timeout=wait_timeout)


async def test_milliseconds_are_recognised_as_a_porting_slip(unreachable: AnyQueue) -> None:
    with pytest.raises(ValidationError, match="durations are in seconds"):
        await unreachable.add_and_wait("n", 1, wait_timeout=30_000)


@pytest.mark.parametrize("option", ["remove_on_complete", "remove_on_fail"])
async def test_jobs_that_vanish_cannot_be_waited_for(unreachable: AnyQueue, option: str) -> None:
    with pytest.raises(ValidationError) as caught:
        await unreachable.add_and_wait("n", 1, **{option: True})  # type: ignore[arg-type]
    assert str(caught.value) == (
        "Queue.add_and_wait does not support remove_on_complete/remove_on_fail because it may need the job hash"
        " as a fallback."
    )


async def test_borrowed_connection_cannot_block(server: ValkeyServer, queue_name: str) -> None:
    async with (
        await SharedClient.connect(server.url) as client,
        Queue[Any, Any](queue_name, client=client) as queue,
    ):
        with pytest.raises(ValidationError) as caught:
            await queue.add_and_wait("n", 1)
        assert await queue.count() == 0
    assert str(caught.value) == (
        "Queue.add_and_wait requires `connection` because it uses a dedicated blocking connection to wait for"
        " events."
    )


async def test_duplicate_cannot_be_waited_for(queue: AnyQueue) -> None:
    await queue.add("n", 1, job_id="x")
    with pytest.raises(JobStateError) as caught:
        await queue.add_and_wait("n", 1, job_id="x")
    assert str(caught.value) == (
        "Queue.add_and_wait() cannot wait on a deduplicated/skipped/duplicate-ID add that returned None."
    )


# -- wait_until_finished -------------------------------------------------------------------------------------


async def test_waiting_for_a_job_tells_its_final_state(queue: AnyQueue, start_worker: Start) -> None:
    good, bad = await queue.add_bulk([("n", 5), ("n", "fail")])
    await start_worker(answer)
    assert await good.wait_until_finished(poll=0.01) == "completed"
    assert good.return_value == {"answer": 5}
    assert await bad.wait_until_finished(poll=0.01) == "failed"
    assert bad.failed_reason == "no answer"


async def test_short_job_is_not_waited_for_as_long_as_the_poll_says(
    queue: AnyQueue, start_worker: Start
) -> None:
    job = await queue.add("n", 5, delay=0.05)
    assert job is not None
    await start_worker(answer)
    async with asyncio.timeout(20):
        assert await job.wait_until_finished(poll=900, timeout=999) == "completed"


async def test_waiting_for_a_job_ends_with_the_time(queue: AnyQueue) -> None:
    job = await queue.add("n", 1)
    assert job is not None
    began = time.monotonic()
    with pytest.raises(JobTimeoutError, match=r"^Job 1 did not finish within 0\.1 s$"):
        await job.wait_until_finished(poll=60, timeout=0.1)
    assert time.monotonic() - began < 10
    await job.remove()
    with pytest.raises(JobNotFoundError):
        await job.wait_until_finished()


@pytest.mark.parametrize("arguments", [{"poll": 0}, {"timeout": 0}, {"timeout": 30_000}, {"poll": 1000}])
async def test_bad_times_are_refused(queue: AnyQueue, arguments: dict[str, Any]) -> None:
    job = await queue.add("n", 1)
    assert job is not None
    with pytest.raises(ValidationError):
        await job.wait_until_finished(**arguments)


async def test_plain_function_waits_for_another_job_by_blocking(
    server: ValkeyServer, queue: AnyQueue, start_worker: Start
) -> None:
    """A processor that was handed another job's handle: a SyncJob blocks its thread, not the worker's loop."""

    def process(job: SyncJob[Any, Any]) -> Any:
        if job.data is None:
            return "done"
        other = SyncJob[Any, Any].from_hash(
            {"id": job.data.encode()}, queue_key=queue.keys.meta, connection=job._connection
        )
        with pytest.raises(GlideMQError):
            other.wait_until_finished(poll=0.01, timeout=0.02)
        return other.wait_until_finished(poll=0.01)

    target = await queue.add("target", None, delay=0.2)
    assert target is not None
    await start_worker(process, concurrency=2)
    assert await queue.add_and_wait("waiter", target.id) == "completed"
