"""Deduplication as the documents promise it, through every producer, with adds that race and workers that run."""

from __future__ import annotations

import asyncio
from typing import Any

from glidemq import Deduplication, Job, Ordering, Producer, Queue, Worker
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

AnyQueue = Queue[Any, Any]

SOON = 0.05
LONG = 60.0


async def test_add_of_a_skipped_job_is_none_for_every_producer(server: ValkeyServer, queue_name: str) -> None:
    same = Deduplication("welcome-99")
    async with (
        AnyQueue(queue_name, connection=server.url) as queue,
        Producer[Any](queue_name, connection=server.url) as producer,
    ):
        first = await queue.add("welcome", 1, deduplication=same)
        assert first is not None
        assert await queue.add("welcome", 2, deduplication={"id": "welcome-99"}) is None
        assert await producer.add("welcome", 3, deduplication=same) is None
        given = [
            ("a", 4, {"deduplication": same}),
            ("b", 5),
            ("c", 6, {"deduplication": Deduplication("other")}),
        ]
        assert [job.name for job in await queue.add_bulk(given)] == ["b", "c"]  # type: ignore[arg-type]
        assert await producer.add_bulk([("a", 7, {"deduplication": same}), ("b", 8)]) == [None, "4"]
        assert await first.get_state() == "waiting"
        assert first.opts.get("deduplication") == same


async def test_one_of_many_adds_that_race_is_accepted(server: ValkeyServer, queue_name: str) -> None:
    once = {"simple": Deduplication("s"), "throttle": Deduplication("t", LONG, "throttle")}
    queues = [AnyQueue(queue_name, connection=server.url) for _ in range(4)]
    try:
        for option in once.values():
            jobs = await asyncio.gather(
                *(queue.add("n", number, deduplication=option) for queue in queues for number in range(25))
            )
            assert sum(job is not None for job in jobs) == 1
    finally:
        for queue in queues:
            await queue.close()


async def test_simple_accepts_again_once_the_job_is_removed(server: ValkeyServer, queue_name: str) -> None:
    async def process(job: Job[Any, Any]) -> Any:
        return job.data

    option = Deduplication("d")
    async with (
        AnyQueue(queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, process, connection=server.url),
    ):
        job = await queue.add("n", 1, deduplication=option)
        assert job is not None
        assert await job.wait_until_finished(poll=0.01) == "completed"
        assert await queue.add("n", 2, deduplication=option) is None
        await job.remove()
        assert await queue.add("n", 3, deduplication=option) is not None


async def test_the_last_of_a_debounce_window_is_the_one_that_runs(
    server: ValkeyServer, queue_name: str
) -> None:
    ran: list[Any] = []

    async def process(job: Job[Any, Any]) -> None:
        ran.append(job.data)

    async with (
        AnyQueue(queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, process, connection=server.url, promotion_interval=SOON),
    ):
        last = None
        for number in range(20):
            last = await queue.add("search", number, deduplication=Deduplication("u", 0.5, "debounce"))
        assert last is not None
        assert await last.wait_until_finished(poll=0.01) == "completed"
        assert ran == [19]
        assert (await queue.get_job_counts())["delayed"] == 0


async def test_group_goes_on_when_a_debounced_job_of_it_is_replaced(
    server: ValkeyServer, queue_name: str
) -> None:
    ran: list[Any] = []

    async def process(job: Job[Any, Any]) -> None:
        ran.append(job.data)

    async with AnyQueue(queue_name, connection=server.url) as queue:
        first = {"ordering": Ordering("g"), "deduplication": Deduplication("d", LONG, "debounce")}
        await queue.add("n", "replaced", **first)  # type: ignore[arg-type]
        await queue.add("n", "next in the group", ordering=Ordering("g"))
        async with Worker[Any, Any](queue_name, process, connection=server.url, promotion_interval=SOON):
            await queue.add("n", "the newest", ordering=Ordering("g"), deduplication=first["deduplication"])  # type: ignore[arg-type]
            await eventually(lambda: ran == ["next in the group"], "the successor of the replaced job runs")


async def test_what_is_kept_about_removed_jobs_goes_by_itself(
    server: ValkeyServer, raw: Any, queue_name: str
) -> None:
    """No add has to come: the workers' stall recovery looks through the entries."""

    async def process(job: Job[Any, Any]) -> Any:
        return job.data

    async with (
        AnyQueue(queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, process, connection=server.url, stalled_interval=1),
    ):
        for number in range(30):
            await queue.add("n", number, remove_on_complete=True, deduplication=Deduplication(f"d{number}"))
        looks, entries = f"{queue.keys.base}:x-py:dedup", f"{queue.keys.base}:dedup"
        assert raw.hlen(entries) == raw.zcard(looks) == 30
        for member, score in raw.zrange(looks, 0, -1, withscores=True):
            raw.zadd(looks, {member: score - 60_000})  # a minute passes
        await eventually(lambda: not raw.exists(entries, looks), "the entries are gone")
