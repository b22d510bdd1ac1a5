"""Steering a queue: revoking, retrying, cleaning, draining, limits, schedulers; and the reports about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glidemq import (
    ClosedError,
    Job,
    JobNotFoundError,
    JobStateError,
    JobTemplate,
    Queue,
    RateLimit,
    Schedule,
    UnrecoverableError,
    ValidationError,
    Worker,
)
from tests.client.conftest import AnyQueue
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


async def refuse(job: Job[Any, Any]) -> Any:
    """A processor that completes even data and fails odd data."""
    if job.data % 2:
        raise UnrecoverableError("odd")
    return job.data


async def states(queue: AnyQueue) -> dict[str, int]:
    return {state: number for state, number in (await queue.get_job_counts()).items() if number}


async def processed(queue: AnyQueue, server: ValkeyServer, jobs: int) -> None:
    """Let a worker take everything that waits."""
    async with Worker[Any, Any](queue.name, refuse, connection=server.url, concurrency=20):
        await eventually(lambda: finished(queue, jobs), what=f"{jobs} finished jobs")


async def finished(queue: AnyQueue, jobs: int) -> bool:
    counts = await queue.get_job_counts()
    return counts["completed"] + counts["failed"] == jobs


# -- revoking ------------------------------------------------------------------------------------------------


async def test_revoked_waiting_job_fails_and_says_so(queue: AnyQueue) -> None:
    job = await queue.add("n", 1, attempts=5)
    assert job is not None
    assert await queue.revoke(job.id) == "revoked"
    await job.refresh()
    assert (await job.get_state(), job.failed_reason, await job.is_revoked()) == ("failed", "revoked", True)
    assert await queue.revoke("none") == "not_found"


async def test_revoking_a_job_that_runs_flags_it(queue: AnyQueue, server: ValkeyServer) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def process(job: Job[Any, Any]) -> str:
        started.set()
        await go_on.wait()
        return "done"

    job = await queue.add("n", 1)
    assert job is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        await started.wait()
        assert await queue.revoke(job.id) == "flagged"
        go_on.set()
        assert await job.wait_until_finished(poll=0.01) == "failed"
    assert job.failed_reason == "revoked"


async def test_revoking_among_many_waiting_jobs_finds_the_entry(queue: AnyQueue) -> None:
    jobs = await queue.add_bulk([("n", n) for n in range(3000)])
    assert await queue.revoke(jobs[2900].id) == "revoked"
    assert await queue.count() == 2999
    assert jobs[2900].id not in [job.id for job in await queue.get_jobs("waiting", exclude_data=True)]


# -- finished jobs -------------------------------------------------------------------------------------------


async def test_clean_deletes_old_finished_jobs_of_one_state(queue: AnyQueue, server: ValkeyServer) -> None:
    await queue.add_bulk([("n", n) for n in range(10)])
    await processed(queue, server, 10)
    assert await queue.clean(3600, 100) == []
    completed = [job.id for job in await queue.get_jobs("completed")]
    assert await queue.clean(timedelta(0), 2) == completed[:2]
    assert await queue.clean(0, 0) == []
    assert sorted(await queue.clean(0, 100, "failed"), key=int) == ["2", "4", "6", "8", "10"]
    assert await states(queue) == {"completed": 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 10), "grace must be >= 0"),
        ((0, 1.5), "limit must be an integer"),
        ((0, 10, "waiting"), "jobs can be cleaned by state completed or failed, not 'waiting'"),
    ],
)
async def test_bad_cleaning_is_refused_before_any_call(
    unreachable: AnyQueue, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        await unreachable.clean(*arguments)


async def test_failed_jobs_are_retried_singly_and_together(queue: AnyQueue, server: ValkeyServer) -> None:
    jobs = await queue.add_bulk([("n", 2 * n + 1) for n in range(6)])
    await processed(queue, server, 6)
    assert await queue.retry_jobs(2) == 2
    waiting = (await queue.get_job_counts())["failed"]
    assert waiting == 4
    last = jobs[5] if await jobs[5].is_failed() else jobs[0]
    await last.retry()
    assert not await last.is_failed()
    with pytest.raises(JobStateError, match=r"^Cannot retry: not_failed$"):
        await last.retry()
    assert await queue.retry_jobs() == 3
    assert (await queue.get_job_counts())["failed"] == 0
    with pytest.raises(ValidationError, match="count must be a non-negative integer"):
        await queue.retry_jobs(-1)


# -- waiting jobs --------------------------------------------------------------------------------------------


async def test_drain_deletes_what_waits_and_on_request_what_is_delayed(queue: AnyQueue) -> None:
    await queue.add_bulk([("n", n) for n in range(5)])
    await queue.add("p", 1, priority=1)
    await queue.add("l", 1, lifo=True)
    await queue.add("d", 1, delay=60)
    assert await queue.drain() == 7
    assert await states(queue) == {"delayed": 1}
    assert await queue.drain(delayed=True) == 1
    assert await states(queue) == {}


async def test_delayed_job_is_promoted_once(queue: AnyQueue) -> None:
    job = await queue.add("n", 1, delay=60)
    assert job is not None
    await job.promote()
    assert await job.get_state() == "waiting"
    with pytest.raises(JobStateError, match=r"^Cannot promote: not_delayed$"):
        await job.promote()
    await job.remove()
    with pytest.raises(JobNotFoundError, match=r"^Cannot promote: not_found$"):
        await job.promote()


async def test_priority_and_delay_of_a_waiting_job_change(queue: AnyQueue) -> None:
    jobs = await queue.add_bulk([("n", n) for n in range(3)])
    await jobs[2].change_priority(7)
    assert jobs[2].priority == 7
    assert [job.id for job in await queue.get_jobs("prioritized")] == [jobs[2].id]
    await jobs[0].change_delay(timedelta(minutes=1))
    assert (await jobs[0].get_state(), jobs[0].delay) == ("delayed", 60.0)
    await jobs[0].refresh()
    assert jobs[0].delay == 60.0
    with pytest.raises(ValidationError, match="Priority must be >= 0"):
        await jobs[1].change_priority(-1)
    with pytest.raises(ValidationError, match="Priority must be <= 2048"):
        await jobs[1].change_priority(2049)
    with pytest.raises(ValidationError, match="Delay must be >= 0"):
        await jobs[1].change_delay(-1)


# -- limits --------------------------------------------------------------------------------------------------


async def test_global_limits_are_set_read_and_removed(queue: AnyQueue) -> None:
    assert (await queue.get_global_concurrency(), await queue.get_global_rate_limit()) == (None, None)
    await queue.set_global_concurrency(3)
    await queue.set_global_rate_limit(RateLimit(max=60, duration=timedelta(minutes=1)))
    assert await queue.get_global_concurrency() == 3
    assert await queue.get_global_rate_limit() == RateLimit(60, 60.0)
    await queue.set_global_rate_limit({"max": 1, "duration": 0.5})
    assert await queue.get_global_rate_limit() == RateLimit(1, 0.5)
    await queue.set_global_concurrency(0)
    await queue.remove_global_rate_limit()
    assert (await queue.get_global_concurrency(), await queue.get_global_rate_limit()) == (None, None)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (RateLimit(0, 1), r"limit\.max must be a positive integer"),
        (RateLimit(1, 0), r"limit\.duration must be a positive finite number of seconds"),
        ({"max": 1}, "limit needs a max and a duration"),
        ({"max": 1, "durations": 1}, "did you mean 'duration'"),
        (5, "limit must be a RateLimit or a mapping with its fields"),
    ],
)
async def test_bad_rate_limit_is_refused_before_any_call(
    unreachable: AnyQueue, limit: Any, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        await unreachable.set_global_rate_limit(limit)


async def test_global_concurrency_holds_over_all_workers(queue: AnyQueue, server: ValkeyServer) -> None:
    running = highest = 0

    async def process(job: Job[Any, Any]) -> None:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        await asyncio.sleep(0.005)
        running -= 1

    await queue.set_global_concurrency(2)
    await queue.add_bulk([("n", n) for n in range(30)])
    options: dict[str, Any] = {"connection": server.url, "concurrency": 5}
    async with (
        Worker[Any, Any](queue.name, process, **options),
        Worker[Any, Any](queue.name, process, **options),
    ):
        await eventually(lambda: finished(queue, 30), what="30 finished jobs")
    assert highest == 2


# -- schedulers ----------------------------------------------------------------------------------------------


async def test_schedulers_are_made_listed_and_removed_through_the_queue(queue: AnyQueue) -> None:
    entry = await queue.upsert_job_scheduler("tick", {"every": 60}, JobTemplate(name="t", data={"a": 1}))
    assert (entry.every, entry.template.name) == (60.0, "t")
    assert await queue.get_job_scheduler("tick") == entry
    await queue.upsert_job_scheduler("nightly", Schedule(pattern="0 3 * * *"))
    assert [job.name for job in await queue.get_repeatable_jobs()] == ["nightly", "tick"]
    assert await queue.remove_job_scheduler("tick")
    assert not await queue.remove_job_scheduler("tick")
    assert await queue.get_job_scheduler("tick") is None


# -- reports -------------------------------------------------------------------------------------------------


async def test_metrics_count_finished_jobs_by_the_minute(queue: AnyQueue, server: ValkeyServer) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    await queue.add_bulk([("n", n) for n in range(10)])
    await processed(queue, server, 10)
    for kind in ("completed", "failed"):
        metrics = await queue.get_metrics(kind)
        assert metrics.count == 5
        assert sum(point.count for point in metrics.data) == 5
        assert all(point.timestamp > before and point.avg_duration < 60 for point in metrics.data)
        assert metrics.meta.resolution == "minute"
    assert (await queue.get_metrics("completed", -1)).data == (await queue.get_metrics("completed")).data[-1:]
    with pytest.raises(ValidationError, match="start must be an integer"):
        await queue.get_metrics("completed", 0.5)  # type: ignore[arg-type]


async def test_workers_are_listed_while_they_live(queue: AnyQueue, server: ValkeyServer) -> None:
    assert await queue.get_workers() == []
    async with Worker[Any, Any](queue.name, refuse, connection=server.url) as worker:
        [info] = await queue.get_workers()
        assert (info.id, info.active_jobs) == (worker.id, 0)
        assert info.pid > 0
        assert abs(datetime.now(UTC) - info.started_at) < timedelta(minutes=1)
        assert 0 <= info.age < 60
    assert await queue.get_workers() == []


async def test_nodes_five_counts(queue: AnyQueue) -> None:
    await queue.add("n", 1)
    await queue.add("n", 1, delay=60)
    assert await queue.get_job_count_by_types() == {
        "waiting": 1, "active": 0, "delayed": 1, "completed": 0, "failed": 0,
    }  # fmt: skip
    assert await queue.count() == 1


CALLS: list[Callable[[Queue[Any, Any]], Any]] = [
    lambda queue: queue.revoke("1"),
    lambda queue: queue.clean(0, 1),
    lambda queue: queue.drain(),
    lambda queue: queue.retry_jobs(),
    lambda queue: queue.get_metrics("completed"),
    lambda queue: queue.get_workers(),
    lambda queue: queue.get_repeatable_jobs(),
    lambda queue: queue.set_global_concurrency(1),
]


@pytest.mark.parametrize("call", CALLS)
async def test_closed_queue_does_nothing_more(
    server: ValkeyServer, queue_name: str, call: Callable[[Queue[Any, Any]], Any]
) -> None:
    queue = Queue[Any, Any](queue_name, connection=server.url)
    await queue.close()
    with pytest.raises(ClosedError, match="Queue is closing"):
        await call(queue)
