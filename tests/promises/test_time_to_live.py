"""A job that did not start in time never does: it fails with `expired`, whatever it waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from glidemq import Job, Ordering, Queue, Worker
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.basics_app:app"

AnyQueue = Queue[Any, Any]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(queue_name, connection=server.url) as made:
        yield made


async def nothing(job: Job[Any, Any]) -> None:
    return None


WAITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "LIFO": {"lifo": True},
    "priority": {"priority": 1},
    "delayed": {"delay": 0.02},
    "delayed for longer than it lives": {"delay": 0.3},
    "delayed with a priority": {"delay": 0.02, "priority": 3},
    "ordered": {"ordering": Ordering("a")},
}


async def expired(queue: AnyQueue, job_id: str) -> None:
    async def failed() -> bool:
        found = await queue.get_job(job_id)
        return found is not None and await found.is_failed()

    await eventually(failed, "it has expired")
    job = await queue.get_job(job_id)
    assert job is not None
    assert (job.failed_reason, job.attempts_made) == ("expired", 0)
    assert job.finished_on is not None and job.processed_on is None


@pytest.mark.parametrize(
    ("kind", "wait"), [*(("async", wait) for wait in WAITS), ("sync", "plain"), ("sync", "delayed")]
)
async def test_actor_processes_start_no_job_after_its_time(
    launch: Callable[..., Runtime],
    own_server: ValkeyServer,
    history: History,
    kind: str,
    wait: str,
) -> None:
    options = WAITS[wait]
    async with AnyQueue(f"{kind}-order", connection=own_server.url) as queue:
        late = await queue.add("late", "late", ttl=0.1, attempts=5, **options)
        assert late is not None and late.expire_at is not None
        raw = own_server.client()
        clock = late.expire_at.timestamp()
        await eventually(lambda: _server_time(raw) > clock, "its time is over")
        await launch(APP, "--procs", "1").ready()
        await expired(queue, late.id)
        after = await queue.add("after", None, **options)
        assert after is not None
        assert await after.wait_until_finished(poll=0.02) == "completed"
        assert history.runs_of(late.id) == []


def _server_time(raw: Any) -> float:
    seconds, micros = raw.time()
    return float(seconds + micros / 1e6)


async def test_time_runs_from_the_adding_not_from_the_promotion(
    queue: AnyQueue, server: ValkeyServer
) -> None:
    """The clock of the first one would not be over yet if it had started when the delay was."""
    started: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        started.append(job.id)

    job = await queue.add("offer", None, delay=0.2, ttl=0.25)
    in_time = await queue.add("offer", None, delay=0.05, ttl=60)
    assert job is not None and in_time is not None
    assert job.expire_at is not None
    assert job.expire_at.timestamp() - job.timestamp.timestamp() == pytest.approx(0.25, abs=0.002)
    await queue.pause()
    raw = server.client()
    expires = job.expire_at.timestamp()
    await eventually(lambda: _server_time(raw) > expires, "its time is over")
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        await queue.resume()
        await expired(queue, job.id)
        await in_time.wait_until_finished(poll=0.01)
    assert started == [in_time.id]


async def test_a_running_job_is_not_interrupted(queue: AnyQueue, server: ValkeyServer) -> None:
    expiries: list[Any] = []

    async def process(job: Job[Any, Any]) -> bool:
        expiries.append(job.expire_at)
        await asyncio.wait([asyncio.create_task(job.abort_signal.wait())], timeout=0.3)
        return job.abort_signal.aborted

    async with Worker[Any, Any](queue.name, process, connection=server.url):
        job = await queue.add("n", None, ttl=0.15)
        assert job is not None
        assert await job.wait_until_finished(poll=0.01) == "completed"
        assert job.return_value is False
        assert job.finished_on is not None and job.expire_at is not None
        assert job.finished_on > job.expire_at
        assert expiries == [job.expire_at], "its processor can tell, too"


async def test_an_expired_retry_does_not_run_again(queue: AnyQueue, server: ValkeyServer) -> None:
    runs: list[int] = []

    async def process(job: Job[Any, Any]) -> None:
        runs.append(job.attempts_made)
        raise ValueError("once is enough")

    async with Worker[Any, Any](queue.name, process, connection=server.url):
        job = await queue.add("n", None, ttl=0.2, attempts=5, backoff={"type": "fixed", "delay": 0.3})
        assert job is not None
        assert await job.wait_until_finished(poll=0.02) == "failed"
        assert (job.failed_reason, runs) == ("expired", [0])


async def test_an_expired_job_goes_to_the_dead_letter_queue(
    server: ValkeyServer, queue_name: str, dead: AnyQueue, dead_name: str
) -> None:
    async with AnyQueue(queue_name, connection=server.url, dead_letter_queue=dead_name) as queue:
        job = await queue.add("n", {"a": 1}, ttl=0.01)
        assert job is not None and job.expire_at is not None
        raw = server.client()
        expires = job.expire_at.timestamp()
        await eventually(lambda: _server_time(raw) > expires, "its time is over")
        async with Worker[Any, Any](queue_name, nothing, connection=server.url):
            await eventually(dead.count, "a dead letter")
        (letter,) = await queue.get_dead_letter_jobs()
        assert letter.data["failedReason"] == "expired"
