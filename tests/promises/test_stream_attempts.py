"""Readers can tell the chunks of a run that has started over from those of the runs before, whatever ended them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from glidemq import (
    GroupRateLimitError,
    Job,
    Ordering,
    RateLimitError,
    UnrecoverableError,
    Worker,
)
from tests.promises.model_calls_app import stream, stream_async
from tests.promises.streams import AnyQueue, added, followed, numbers
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

STREAMERS: list[Callable[[Any], Any]] = [stream, stream_async]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        yield queue


@pytest.mark.parametrize("processor", STREAMERS)
async def test_chunks_of_a_retry_are_told_from_those_of_the_first_attempt(
    server: ValkeyServer, queue: AnyQueue, raw: Any, processor: Callable[[Any], Any]
) -> None:
    job = await added(queue, {"chunks": 4, "fails": True}, attempts=2)
    reading = asyncio.create_task(followed(queue, job.id))
    async with Worker[Any, Any](queue.name, processor, connection=server.url):
        entries = await reading
    assert [(entry.attempt, entry.fields.get("t")) for entry in entries] == [
        (1, "0"), (1, "1"), (2, "0"), (2, "1"), (2, "2"), (2, "3"), (2, None),
    ]  # fmt: skip
    stored = [fields.get(b"x-py:attempt") for _, fields in raw.xrange(queue.keys.jstream(job.id))]
    assert stored == [None, None, *[b"2"] * 5]


class OnceMore:
    """A processor that streams three chunks, and ends in its first run only in the way that is told."""

    def __init__(self, end: Callable[[], Awaitable[None]]) -> None:
        self._end = end
        self._is_first = True

    async def __call__(self, job: Job[Any, Any]) -> None:
        is_first, self._is_first = self._is_first, False
        for token in numbers(3):
            await job.stream({"t": token})
        if is_first:
            await self._end()


async def be_rate_limited() -> None:
    raise RateLimitError(duration=0.01)


async def be_rate_limited_as_a_group() -> None:
    raise GroupRateLimitError(0.01)


async def fail() -> None:
    raise UnrecoverableError("for good")


async def stay() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("end", [be_rate_limited, be_rate_limited_as_a_group, fail, stay])
async def test_chunks_of_a_run_that_starts_over_uncharged_are_told_from_the_first_ones(
    server: ValkeyServer, queue: AnyQueue, end: Callable[[], Awaitable[None]]
) -> None:
    """It was put off, it is tried again by hand, or its host was closed by force."""
    job = await added(queue, ordering=Ordering("k"))
    process = OnceMore(end)
    worker = Worker[Any, Any](queue.name, process.__call__, connection=server.url)
    await worker.start()
    if end is fail:
        assert await job.wait_until_finished(poll=0.01) == "failed"
        await job.retry()
    if end is stay:

        async def has_streamed() -> bool:
            return len(await queue.read_stream(job.id)) == 3

        await eventually(has_streamed, "the first run has streamed")
        await worker.close(force=True)
        worker = Worker[Any, Any](queue.name, process.__call__, connection=server.url)
        await worker.start()
    await eventually(job.is_completed, "the second run's end")
    await worker.close()
    assert [(entry.attempt, entry.fields["t"]) for entry in await queue.read_stream(job.id)] == [
        (attempt, token) for attempt in (1, 2) for token in numbers(3)
    ]


async def test_chunks_of_jobs_that_died_with_another_one_are_told_from_those_of_their_next_run(
    launch: Callable[..., Runtime], own_server: ValkeyServer
) -> None:
    runtime = await launch("tests.promises.model_calls_app:app", "--procs", "1").ready()
    async with AnyQueue("async-streams", connection=own_server.url) as queue:
        jobs = await queue.add_bulk([("call", {"chunks": 4, "stays": True})] * 3)

        async def have_streamed() -> bool:
            return all([len(await queue.read_stream(job.id)) == 2 for job in jobs])

        await eventually(have_streamed, "all of them stream")
        for pid in runtime.actors().values():
            os.kill(pid, signal.SIGKILL)
        for job in jobs:
            entries = await followed(queue, job.id)
            assert [(entry.attempt, entry.fields.get("t")) for entry in entries] == [
                (1, "0"), (1, "1"), (2, "0"), (2, "1"), (2, "2"), (2, "3"), (2, None),
            ]  # fmt: skip
