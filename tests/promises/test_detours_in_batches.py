"""Jobs of a batch may wait, each for something else, while the others of their batch end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from glidemq import Batch, Job
from tests.promises.places import AnyQueue, Processed
from tests.testkit.waiting import eventually

AnyJob = Job[Any, Any]


@pytest.fixture(params=["sync", "async"])
async def queue(request: pytest.FixtureRequest, processed: Processed) -> AsyncIterator[AnyQueue]:
    """A queue whose batches are run in this process, or in an actor process."""
    app, name = "tests.promises.batch_app:app", f"{request.param}-detours"
    async with processed(app, name, batch=Batch(10, timeout=0.2)) as made:
        yield made


async def suspended(queue: AnyQueue, job: AnyJob) -> None:
    async def waits() -> bool:
        return await queue.get_suspend_info(job.id) is not None

    await eventually(waits, f"job {job.id} waits for a signal")


async def test_each_job_of_a_batch_takes_its_own_way(queue: AnyQueue) -> None:
    waits = ["calls suspend", "returns SuspendError"]
    ways = [*waits, "calls move_to_delayed", "returns DelayedError", "returns RateLimitError"]
    ways += ["returns WaitingChildrenError", "goes on", "fails"]
    jobs = dict(zip(ways, await queue.add_bulk([(way, 0) for way in ways]), strict=True))
    for way in waits:
        await suspended(queue, jobs[way])
        assert await queue.signal(jobs[way].id, "go") is True
    states = {way: await job.wait_until_finished(poll=0.01) for way, job in jobs.items()}
    assert states.pop("fails") == "failed"
    assert jobs.pop("fails").failed_reason == "fails"
    assert set(states.values()) == {"completed"}
    assert jobs.pop("goes on").return_value == 1
    assert {way: job.return_value for way, job in jobs.items()} == dict.fromkeys(jobs, 2)
    assert {job.attempts_made for job in jobs.values()} == {0}


async def test_a_wait_that_a_batch_raises_is_for_all_its_jobs(queue: AnyQueue) -> None:
    jobs = await queue.add_bulk([("raises SuspendError", 0) for _ in range(3)])
    for job in jobs:
        await suspended(queue, job)
    for job in jobs:
        assert await queue.signal(job.id, "go") is True
    assert [await job.wait_until_finished(poll=0.01) for job in jobs] == ["completed"] * 3
    assert [job.return_value for job in jobs] == [2, 2, 2]
