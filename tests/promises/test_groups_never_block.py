"""Whatever becomes of a job in a group's sequence, the next one goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from glidemq import Deduplication, Job, Ordering, Queue, TokenBucket, UnrecoverableError, Worker
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

GROUP = Ordering(key="a")
AnyQueue = Queue[Any, Any]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with Queue[Any, Any](queue_name, connection=server.url) as made:
        yield made


async def removed(queue: AnyQueue) -> None:
    job = await queue.add("lost", None, ordering=GROUP)
    assert job is not None
    assert await job.remove()


async def revoked(queue: AnyQueue) -> None:
    job = await queue.add("lost", None, ordering=GROUP)
    assert job is not None
    assert await queue.revoke(job.id) == "revoked"


async def expired(queue: AnyQueue) -> None:
    job = await queue.add("lost", None, ordering=GROUP, ttl=0.05)
    assert job is not None
    await job.refresh()
    expires = job.expire_at
    assert expires is not None
    await eventually(lambda: datetime.now(UTC) > expires, "its time is over")


async def expired_delayed(queue: AnyQueue) -> None:
    await queue.add("lost", None, ordering=GROUP, ttl=0.05, delay=0.1)


async def too_dear(queue: AnyQueue) -> Ordering:
    dear = Ordering(key="a", token_bucket=TokenBucket(capacity=5, refill_rate=100))
    job = await queue.add("lost", None, ordering=dear, cost=5)
    assert job is not None
    # The last add settles the limits: what is parked may never be able to start.
    cheap = Ordering(key="a", token_bucket=TokenBucket(capacity=2, refill_rate=100))
    await queue.add("cheap", None, ordering=cheap, cost=1)
    return cheap


async def debounced(queue: AnyQueue) -> None:
    once = Deduplication(id="once", mode="debounce", ttl=0.1)
    assert await queue.add("lost", None, ordering=GROUP, deduplication=once) is not None
    assert await queue.add("newer", None, ordering=GROUP, deduplication=once) is not None


async def drained(queue: AnyQueue) -> None:
    await queue.add("lost", None, ordering=GROUP, delay=60)
    await queue.drain(delayed=True)


async def cleaned_after_failure(queue: AnyQueue) -> None:
    await queue.add("fails", None, ordering=GROUP, remove_on_fail=True)


@pytest.mark.parametrize("parked", [True, False], ids=["behind a running job", "at the head"])
@pytest.mark.parametrize(
    "lose",
    [removed, revoked, expired, expired_delayed, too_dear, debounced, drained, cleaned_after_failure],
    ids=lambda way: way.__name__,
)
async def test_the_next_job_of_the_group_runs(
    queue: AnyQueue,
    server: ValkeyServer,
    lose: Callable[[AnyQueue], Awaitable[Ordering | None]],
    parked: bool,
) -> None:
    holding, go_on = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        order.append(job.name)
        if job.name == "holds":
            holding.set()
            await go_on.wait()
        elif job.name == "fails":
            raise UnrecoverableError("for good")

    group: Ordering | None = None
    if parked:
        await queue.add("holds", None, ordering=GROUP)
    else:
        group = await lose(queue)
    async with Worker[Any, Any](queue.name, process, connection=server.url, concurrency=4):
        if parked:
            await holding.wait()
            group = await lose(queue)
        last = await queue.add("last", None, ordering=group or GROUP)
        assert last is not None
        go_on.set()
        began = time.monotonic()
        assert await last.wait_until_finished(poll=0.01, timeout=20) == "completed"
        assert time.monotonic() - began < 2, "at once, and not by some later tidying up"
    assert "lost" not in order
    assert order[-1] == "last"
