"""A slot that becomes free is used at once, and none is used twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from glidemq import Job, Queue, SyncJob
from tests.testkit.waiting import eventually

Start = Callable[..., Any]
NEVER_S = 900  # a promoter that looks this rarely hides no missed wake-up


async def test_a_worker_that_knows_its_jobs_still_hears_of_the_next_one(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    """Known jobs are fetched ahead, so that a free slot is not all that the server is asked for."""

    async def process(job: Job[Any, Any]) -> None:
        await asyncio.sleep(0.001)

    await start_worker(process, promotion_interval=NEVER_S)
    for _ in range(12):
        job = await queue.add("again", None)
        assert job is not None
        await eventually(job.is_completed, "the job is heard of", within_s=5)


async def test_a_job_does_not_start_behind_a_function_that_was_given_up(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    """Its time would run out before a thread can run it, and then it would run although it had failed."""
    release = threading.Event()
    runs: list[str] = []

    def process(job: SyncJob[Any, Any]) -> None:
        runs.append(job.data)
        if job.data == "stuck":
            release.wait(20)

    await start_worker(process, promotion_interval=NEVER_S)
    await queue.add_bulk([("quick", "quick")] * 20)
    await eventually(lambda: len(runs) == 20, "quick jobs teach the worker to fetch ahead")
    stuck, behind = await queue.add_bulk(
        [("quick", "stuck", {"timeout": 0.005}), ("quick", "behind", {"timeout": 0.005})]
    )
    await eventually(stuck.is_failed, "the function is given up")
    await eventually(behind.is_waiting, "what waits behind it goes back")
    release.set()
    await eventually(behind.is_completed, "it runs once the thread is free", within_s=5)
    assert runs.count("behind") == 1


async def test_jobs_that_the_queues_limit_held_back_start_with_the_end_of_the_one_before(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    """No stream entry tells of jobs with a priority, or of the newest first: nobody is woken for them."""
    started: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        started.append(job.name)

    await queue.set_global_concurrency(1)
    await queue.add_bulk([("newest first", None, {"lifo": True}), ("urgent", None, {"priority": 1})] * 5)
    await start_worker(process, concurrency=4, promotion_interval=NEVER_S)
    await eventually(lambda: len(started) == 10, "all of them start", within_s=5)
