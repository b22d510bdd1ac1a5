"""Jobs with one ordering key start in the order of their adds, none overtakes another, and one at a time by default."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest

from glidemq import Backoff, Job, Ordering, Queue, TokenBucket, Worker
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer

APP = "tests.promises.control_app:app"
KEYS = ["a", "b", "c", "d"]
JOBS_PER_KEY = 12


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    async with Queue[Any, Any](queue_name, connection=server.url) as made:
        yield made


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_jobs_of_a_key_run_one_after_the_other_over_all_processes_of_two_supervisors(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str
) -> None:
    name = f"{kind}-ordered"
    async with Queue[Any, Any](name, connection=own_server.url) as queue:
        for runtime in [launch(APP, "--procs", "2"), launch(APP, "--procs", "2")]:
            await runtime.ready()
        jobs = await queue.add_bulk(
            [
                (key, {"takes": 0.005}, {"ordering": Ordering(key=key)})
                for _ in range(JOBS_PER_KEY)
                for key in KEYS
            ]
        )
        for job in jobs:
            assert await job.wait_until_finished(poll=0.02) == "completed"
        for key in KEYS:
            runs = [history.runs_of(job.id, name) for job in jobs if job.name == key]
            assert [len(found) for found in runs] == [1] * JOBS_PER_KEY
            for (earlier,), (later,) in pairwise(runs):
                assert earlier.ended is not None
                assert earlier.ended <= later.at, f"{later.id} started before {earlier.id} had ended"


async def order_of_starts(
    queue: Queue[Any, Any], server: ValkeyServer, jobs: list[tuple[str, dict[str, Any]]], fails: str = ""
) -> list[str]:
    """Add jobs to group "a", run them all; their names in the order of their starts. `fails`: the first run of it."""
    order: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        order.append(job.name)
        if job.name == fails and job.attempts_made == 0:
            raise ValueError("once")

    added = [
        await queue.add(name, None, **{"ordering": Ordering(key="a"), **options})  # type: ignore[misc]
        for name, options in jobs
    ]
    async with Worker[Any, Any](queue.name, process, connection=server.url, concurrency=8):
        for job in added:
            assert job is not None
            await job.wait_until_finished(poll=0.01)
    return order


@pytest.mark.parametrize(
    "head",
    [{"delay": 0.3}, {"priority": 5}, {"delay": 0.3, "priority": 5}],
    ids=["delayed", "prioritized", "both"],
)
async def test_a_head_that_cannot_start_yet_holds_its_group(
    queue: Queue[Any, Any], server: ValkeyServer, head: dict[str, Any]
) -> None:
    jobs = [("head", head), ("second", {}), ("third", {"priority": 1})]
    assert await order_of_starts(queue, server, jobs) == ["head", "second", "third"]


async def test_a_job_that_is_retried_keeps_its_turn(queue: Queue[Any, Any], server: ValkeyServer) -> None:
    jobs: list[tuple[str, dict[str, Any]]] = [
        ("first", {"attempts": 2, "backoff": Backoff.fixed(0.2)}),
        ("second", {}),
    ]
    assert await order_of_starts(queue, server, jobs, fails="first") == ["first", "first", "second"]


async def test_a_dear_job_is_not_overtaken_by_cheap_ones_behind_it(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    group = Ordering(key="a", concurrency=8, token_bucket=TokenBucket(capacity=10, refill_rate=20))
    jobs = [
        (f"costs {cost}", {"ordering": group, "cost": cost, "job_id": f"job-{number}"})
        for number, cost in enumerate([9, 8, 1, 1])
    ]
    assert await order_of_starts(queue, server, jobs) == ["costs 9", "costs 8", "costs 1", "costs 1"]


async def test_other_groups_and_jobs_without_one_wait_for_nobody(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    holding, go_on = asyncio.Event(), asyncio.Event()

    async def process(job: Job[Any, Any]) -> None:
        if job.name == "holds":
            holding.set()
            await go_on.wait()

    await queue.add("holds", None, ordering=Ordering(key="a"))
    waits = await queue.add("waits", None, ordering=Ordering(key="a"))
    async with Worker[Any, Any](queue.name, process, connection=server.url, concurrency=4):
        await holding.wait()
        free = [await queue.add("free", None, ordering=Ordering(key="b")), await queue.add("free", None)]
        for job in free:
            assert job is not None
            assert await job.wait_until_finished(poll=0.01) == "completed"
        assert waits is not None
        assert await waits.get_state() == "group-waiting"
        go_on.set()
        assert await waits.wait_until_finished(poll=0.01) == "completed"
