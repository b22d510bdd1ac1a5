"""`max_waiting` bounds the jobs that wait for a worker: exactly, with any number of producers at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from glidemq import Job, Producer, Queue, QueueFullError, ServerlessPool, ValidationError, Worker
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    async with Queue[Any, Any](queue_name, connection=server.url, max_waiting=5) as made:
        yield made


async def test_an_add_that_would_exceed_the_limit_adds_nothing(queue: Queue[Any, Any]) -> None:
    for _ in range(5):
        assert await queue.add("job", None) is not None
    with pytest.raises(QueueFullError, match="5 jobs wait, and 1 more would exceed max_waiting=5") as full:
        await queue.add("job", None)
    assert full.value.room == 0
    assert await queue.count() == 5


async def test_a_bulk_is_added_wholly_or_not_at_all(queue: Queue[Any, Any]) -> None:
    await queue.add_bulk([("job", None)] * 3)
    with pytest.raises(QueueFullError) as full:
        await queue.add_bulk([("job", None)] * 3)
    assert full.value.room == 2
    assert await queue.count() == 3
    assert len(await queue.add_bulk([("job", None)] * 2)) == 2


async def test_single_adds_that_travel_together_fill_the_room_that_is_left(queue: Queue[Any, Any]) -> None:
    ends = await asyncio.gather(
        *(queue.add(f"job-{number}", None) for number in range(9)), return_exceptions=True
    )
    added = [end for end in ends if isinstance(end, Job)]
    assert [job.name for job in added] == [f"job-{number}" for number in range(5)], "in the order of the adds"
    assert [type(end) for end in ends[5:]] == [QueueFullError] * 4
    assert await queue.count() == 5


async def test_many_producers_at_once_never_exceed_the_limit(server: ValkeyServer, queue_name: str) -> None:
    limit, producers, adds = 50, 6, 40
    refused = 0

    async def produce() -> int:
        nonlocal refused
        added = 0
        async with Producer[Any](queue_name, connection=server.url, max_waiting=limit) as producer:
            for _ in range(adds):
                try:
                    added += await producer.add("job", None) is not None
                except QueueFullError:
                    refused += 1
        return added

    counts = await asyncio.gather(*(produce() for _ in range(producers)))
    assert sum(counts) == limit
    assert refused == producers * adds - limit
    async with Queue[Any, Any](queue_name, connection=server.url) as queue:
        assert await queue.count() == limit


async def test_room_comes_back_as_workers_take_jobs(queue: Queue[Any, Any], server: ValkeyServer) -> None:
    go_on = asyncio.Event()

    async def process(job: Job[Any, Any]) -> None:
        await go_on.wait()

    await queue.add_bulk([("job", None)] * 5)
    async with Worker[Any, Any](queue.name, process, connection=server.url, concurrency=2):

        async def two_run() -> bool:
            return (await queue.get_job_counts())["active"] == 2

        await eventually(two_run, "two jobs run")
        assert len(await queue.add_bulk([("job", None)] * 2)) == 2, "running jobs do not wait"
        with pytest.raises(QueueFullError):
            await queue.add("job", None)
        go_on.set()


async def test_priorities_and_lifo_count_and_delayed_jobs_do_not(queue: Queue[Any, Any]) -> None:
    await queue.add("later", None, delay=60)
    await queue.add("urgent", None, priority=3)
    await queue.add("newest", None, lifo=True)
    await queue.add_bulk([("job", None)] * 3)
    with pytest.raises(QueueFullError, match="5 jobs wait"):
        await queue.add("job", None)


async def test_a_queue_without_a_limit_is_never_full(queue: Queue[Any, Any], server: ValkeyServer) -> None:
    await queue.add_bulk([("job", None)] * 5)
    async with Queue[Any, Any](queue.name, connection=server.url) as unlimited:
        assert await unlimited.add("job", None) is not None


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "5"])
def test_a_limit_that_is_none_is_refused(limit: Any) -> None:
    for kind in (Queue, Producer):
        with pytest.raises(ValidationError, match="max_waiting must be a positive integer or None"):
            kind("queue", connection="valkey://127.0.0.1:9", max_waiting=limit)


async def test_the_pool_tells_limits_apart(server: ValkeyServer) -> None:
    pool = ServerlessPool()
    one = pool.get_producer("queue", connection=server.url, max_waiting=1)
    assert pool.get_producer("queue", connection=server.url, max_waiting=1) is one
    assert pool.get_producer("queue", connection=server.url, max_waiting=2) is not one
    await pool.close_all()
