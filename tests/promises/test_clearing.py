"""Looking after a queue that actor processes work off: cleaning, draining, trying again, looking at it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from glidemq import Queue, ValidationError
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.basics_app:app"

AnyQueue = Queue[Any, Any]


@pytest.fixture(params=["sync", "async"])
async def queue(
    request: pytest.FixtureRequest, launch: Callable[..., Runtime], own_server: ValkeyServer
) -> AsyncIterator[AnyQueue]:
    """A queue that a supervisor serves."""
    await launch(APP, "--procs", "2").ready()
    async with AnyQueue(f"{request.param}-answers", connection=own_server.url) as made:
        yield made


async def has(queue: AnyQueue, **expected: int) -> None:
    async def as_expected() -> bool:
        counts = await queue.get_job_counts()
        return all(counts[state] == number for state, number in expected.items())

    await eventually(as_expected, f"{expected}")


async def test_a_queue_is_cleared_and_its_failures_get_another_chance(
    queue: AnyQueue, history: History
) -> None:
    await queue.add_bulk([("good", number) for number in range(20)])
    failing = await queue.add_bulk([("bad", "hopeless") for _ in range(6)])
    await has(queue, completed=20, failed=6)

    # Trying again: some, then the others, each with all its attempts.
    assert await queue.retry_jobs(count=2) == 2
    await eventually(lambda: sum(len(runs) == 2 for runs in history.by_job().values()) == 2, "two ran again")
    await has(queue, failed=6, delayed=0, waiting=0, active=0)
    assert await queue.retry_jobs() == 6
    await eventually(lambda: len(history.runs()) == 20 + 6 + 2 + 6, "all ran again")
    await has(queue, failed=6, delayed=0, waiting=0, active=0)
    for job in failing:
        await job.refresh()
        assert (job.attempts_made, job.failed_reason) == (1, "no answer, ever")

    # Cleaning: oldest first, no more than asked for, only what is old enough, only the state that was named.
    assert await queue.clean(grace=3600, limit=100, state="completed") == []
    oldest = [job.id for job in await queue.get_jobs("completed", 0, 4)]
    assert await queue.clean(grace=0, limit=5, state="completed") == oldest
    assert len(await queue.clean(grace=0, limit=100, state="failed")) == 6
    await has(queue, completed=15, failed=0)

    # Draining takes what waits; what is delayed, on request.
    await queue.pause()
    await queue.add_bulk([("n", number) for number in range(5)])
    await queue.add_bulk([("n", 0, {"priority": 1}), ("n", 0, {"lifo": True}), ("n", 0, {"delay": 60})])
    drained = 0

    async def all_are_drained() -> bool:
        nonlocal drained  # a reader that has yet to hear of the pause may hold a job, and give it back
        drained += await queue.drain()
        return drained == 7

    await eventually(all_are_drained, "seven jobs are drained")
    await has(queue, waiting=0, delayed=1)
    assert await queue.drain(delayed=True) == 1
    await has(queue, waiting=0, delayed=0, completed=15)
    await queue.resume()
    assert await queue.add_and_wait("n", "still at work") == {"answer": "still at work"}


async def test_a_queue_tells_what_it_has_done_and_who_works_on_it(queue: AnyQueue) -> None:
    await queue.add_bulk([("good", number) for number in range(20)])
    await queue.add_bulk([("bad", "hopeless") for _ in range(3)])
    await has(queue, completed=20, failed=3)
    for state, number in (("completed", 20), ("failed", 3)):
        metrics = await queue.get_metrics(state)  # type: ignore[arg-type]
        assert metrics.count == number
        assert sum(point.count for point in metrics.data) == number
        assert all(0 <= point.avg_duration < 30 for point in metrics.data)
        assert metrics.meta.resolution == "minute"
    (worker,) = await queue.get_workers()
    assert worker.pid > 0 and worker.active_jobs == 0
    assert 0 <= worker.age < 60 and worker.started_at <= datetime.now(UTC)
    assert sorted(job.data for job in await queue.get_jobs("completed")) == list(range(20))
    assert (await queue.get_job_count_by_types()).keys() >= {
        "waiting",
        "active",
        "delayed",
        "completed",
        "failed",
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda queue: queue.clean(grace=-1, limit=1, state="completed"), "grace must be >= 0"),
        (lambda queue: queue.clean(grace=0, limit=1, state="waiting"), "state"),
        (lambda queue: queue.retry_jobs(count=-1), "count must be a non-negative integer"),
        (lambda queue: queue.get_jobs("waiting", 5, 2), "end must be >= start when both are non-negative"),
        (lambda queue: queue.get_jobs("waiting", "0"), "start must be an integer"),
        (lambda queue: queue.get_metrics("active"), "completed"),
    ],
)
async def test_bad_questions_are_refused(call: Callable[[AnyQueue], Any], message: str) -> None:
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as unreachable:
        with pytest.raises(ValidationError, match=message):
            await call(unreachable)
