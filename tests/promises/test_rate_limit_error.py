"""RateLimitError: the job comes again after the delay, costs no attempt, and the worker's queue rests until then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from glidemq import (
    Batch,
    BatchError,
    Broadcast,
    BroadcastWorker,
    Job,
    Queue,
    RateLimit,
    RateLimitError,
    SyncJob,
    ValidationError,
    Worker,
)
from glidemq.errors import ClosedError
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.control_app:app"
PAUSE_S = 0.5


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    async with Queue[Any, Any](queue_name, connection=server.url) as made:
        yield made


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_all_actor_processes_of_the_host_leave_the_queue_alone(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str
) -> None:
    name = f"{kind}-calls"
    async with Queue[Any, Any](name, connection=own_server.url) as queue:
        runtime = await launch(APP, "--procs", "2").ready()
        limited = await queue.add("limited", {"retry_after": PAUSE_S}, attempts=1)
        assert limited is not None
        hit = await eventually(lambda: history.runs_of(limited.id, name), "the job hits the limit")
        await eventually(lambda: _is(limited, "delayed"), "it is put off")
        others = await queue.add_bulk([("plain", None)] * 20)
        assert await limited.wait_until_finished(poll=0.01) == "completed"
        for other in others:
            assert await other.wait_until_finished(poll=0.01) == "completed"
        first, again = history.runs_of(limited.id, name)
        assert again.at - first.at >= PAUSE_S
        assert again.at - first.at < PAUSE_S + 1.5
        earliest = min(history.runs_of(other.id, name)[0].at for other in others)
        assert earliest - hit[0].at >= PAUSE_S, "nothing of the queue starts meanwhile"
        assert (limited.return_value, limited.attempts_made) == (0, 0)
        assert limited.failed_reason is None, "a job that is put off has not failed"
        assert runtime.lines("failed, attempt") == []


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_worker_rests_and_others_go_on(
    queue: Queue[Any, Any], server: ValkeyServer, kind: str
) -> None:
    runs: list[tuple[str, str, float]] = []
    hit = asyncio.Event()
    loop = asyncio.get_running_loop()

    def note(where: str, job: Any) -> None:
        runs.append((where, job.name, time.monotonic()))
        if job.name == "limited" and not hit.is_set():
            loop.call_soon_threadsafe(hit.set)
            raise Worker.RateLimitError(PAUSE_S)

    def processor(where: str) -> Callable[[Any], Any]:
        async def process(job: Job[Any, Any]) -> None:
            note(where, job)

        def process_sync(job: SyncJob[Any, Any]) -> None:
            note(where, job)

        return process if kind == "async" else process_sync

    limited = await queue.add("limited", None, attempts=1)
    assert limited is not None
    async with Worker[Any, Any](queue.name, processor("resting"), connection=server.url) as resting:
        failed: list[Any] = []
        resting.on("failed", lambda job, error: failed.append(error))
        await hit.wait()
        await eventually(lambda: _is(limited, "delayed"), "it is put off")
        async with Worker[Any, Any](queue.name, processor("other"), connection=server.url):
            jobs = await queue.add_bulk([("plain", None)] * 10)
            for job in jobs:
                await job.wait_until_finished(poll=0.01)
        began = runs[0][2]
        assert {where for where, name, at in runs if name == "plain" and at < began + PAUSE_S} == {"other"}
        assert await limited.wait_until_finished(poll=0.01) == "completed"
        assert failed == [], "nothing failed"


async def test_what_was_fetched_ahead_goes_back_for_other_workers(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    """Short jobs are fetched ahead of free slots: they must not wait out the rest in this worker's hands."""
    resting = asyncio.Event()
    elsewhere: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        if job.name == "limited":
            resting.set()
            raise RateLimitError(60)

    async def process_elsewhere(job: Job[Any, Any]) -> None:
        elsewhere.append(job.id)

    async with Worker[Any, Any](queue.name, process, connection=server.url):
        for job in await queue.add_bulk([("short", None)] * 200):  # by these it learns that jobs are short
            await job.wait_until_finished(poll=0.01)
        jobs = await queue.add_bulk([("limited", None)] + [("short", None)] * 50)
        await resting.wait()
        await eventually(lambda: _is(jobs[0], "delayed"), "it is put off")
        async with Worker[Any, Any](queue.name, process_elsewhere, connection=server.url):
            for job in jobs[1:]:
                await job.wait_until_finished(poll=0.01, timeout=10)
        assert elsewhere, "what the resting worker had not started was taken over"


@pytest.mark.parametrize(
    ("limiter", "least_s"), [(RateLimit(max=1000, duration=PAUSE_S), PAUSE_S), (None, 1.0)]
)
async def test_without_a_duration_the_limiter_s_or_one_second_counts(
    queue: Queue[Any, Any], server: ValkeyServer, limiter: RateLimit | None, least_s: float
) -> None:
    runs: list[float] = []

    async def process(job: Job[Any, Any]) -> None:
        runs.append(time.monotonic())
        if len(runs) == 1:
            raise RateLimitError

    job = await queue.add("limited", None)
    assert job is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url, limiter=limiter):
        await job.wait_until_finished(poll=0.01)
    assert least_s <= runs[1] - runs[0] < least_s + 0.8


async def test_a_subscription_gets_the_message_again_and_its_worker_rests_until_then(
    server: ValkeyServer, queue_name: str
) -> None:
    runs: list[tuple[Any, float, int]] = []
    failed: list[Any] = []

    async def process(job: Job[Any, Any]) -> None:
        runs.append((job.data, time.monotonic(), job.attempts_made))
        if len(runs) == 1:
            raise RateLimitError(PAUSE_S)

    worker = BroadcastWorker[Any, Any](queue_name, process, subscription="s", connection=server.url)
    worker.on("failed", lambda job, error: failed.append(error))
    async with Broadcast[Any](queue_name, connection=server.url) as broadcast, worker:
        await broadcast.publish("a", "limited", attempts=1)
        await eventually(lambda: runs, "it hits the limit")
        await broadcast.publish("a", "other")
        await eventually(lambda: len(runs) == 3, "both are processed")
    assert sorted(data for data, _, _ in runs[1:]) == ["limited", "other"]
    began = runs[0][1]
    assert all(at - began >= PAUSE_S for _, at, _ in runs[1:]), "nothing starts meanwhile"
    assert [attempts for _, _, attempts in runs] == [0, 0, 0]
    assert failed == []


async def test_a_rest_on_demand_keeps_a_worker_from_starting_anything(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    started: list[float] = []

    async def process(job: Job[Any, Any]) -> None:
        started.append(time.monotonic())

    async with Worker[Any, Any](queue.name, process, connection=server.url) as worker:
        began = time.monotonic()
        await worker.rate_limit(timedelta(seconds=PAUSE_S))
        await worker.rate_limit(0.01)  # the longer rest stays
        job = await queue.add("job", None)
        assert job is not None
        await job.wait_until_finished(poll=0.01)
        assert PAUSE_S <= started[0] - began < PAUSE_S + 1
        with pytest.raises(ValidationError, match="duration must be a positive"):
            await worker.rate_limit(0)
    with pytest.raises(ClosedError):
        await worker.rate_limit(1)


async def test_a_worker_can_be_closed_while_it_rests(queue: Queue[Any, Any], server: ValkeyServer) -> None:
    async def process(job: Job[Any, Any]) -> None:
        raise RateLimitError(3600)

    job = await queue.add("job", None)
    assert job is not None
    worker = Worker[Any, Any](queue.name, process, connection=server.url)
    await worker.start()
    await eventually(lambda: _is(job, "delayed"), "the job is put off")
    async with asyncio.timeout(5):
        await worker.close()


@pytest.mark.parametrize("of_all", [True, False])
async def test_a_batch_puts_off_all_of_its_jobs_or_some(
    queue: Queue[Any, Any], server: ValkeyServer, of_all: bool
) -> None:
    batches: list[list[str]] = []

    async def process(jobs: list[Job[Any, Any]]) -> list[str]:
        batches.append([job.name for job in jobs])
        if len(batches) > 1:
            return ["again"] * len(jobs)
        if of_all:
            raise RateLimitError(0.1)
        raise BatchError(["at once", RateLimitError(0.1)])

    jobs = await queue.add_bulk([("a", None, {"attempts": 1}), ("b", None, {"attempts": 1})])
    async with Worker[Any, Any](
        queue.name, process, connection=server.url, batch=Batch(size=2, timeout=5)
    ) as worker:
        failed: list[Any] = []
        worker.on("failed", lambda job, error: failed.append(error))
        for job in jobs:
            assert await job.wait_until_finished(poll=0.01) == "completed"
    assert [job.return_value for job in jobs] == ["again" if of_all else "at once", "again"]
    assert [job.attempts_made for job in jobs] == [0, 0]
    assert failed == []


@pytest.mark.parametrize("duration", [0, -1, float("nan"), "1", True])
def test_a_duration_that_is_none_is_refused(duration: Any) -> None:
    with pytest.raises(
        ValidationError, match="RateLimitError requires a positive finite duration in seconds"
    ):
        RateLimitError(duration)


async def _is(job: Job[Any, Any], state: str) -> bool:
    return await job.get_state() == state
