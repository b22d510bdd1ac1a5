"""The output of a job that is gone: readable to its end if the job has ended, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from glidemq import Job, JobNotFoundError, Worker
from tests.promises.streams import AnyQueue, added, followed, numbers, tokens
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        yield queue


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
async def test_output_of_job_that_is_removed_at_its_end_is_there_for_its_readers_for_a_moment(
    server: ValkeyServer, queue: AnyQueue, raw: Any, marked: bool
) -> None:
    async def call(job: Job[Any, Any]) -> None:
        for token in numbers(30):
            await job.stream({"t": token})
        if marked:
            await job.stream({"t": "", "done": "1"})

    expected = [*numbers(30), *([""] if marked else [])]
    job = await added(queue, remove_on_complete=True)
    async with Worker[Any, Any](queue.name, call, connection=server.url):
        following = asyncio.create_task(followed(queue, job.id))
        await eventually(lambda: not raw.exists(queue.keys.job(job.id)), "the job is removed")
        assert tokens(await following) == expected
    assert tokens(await followed(queue, job.id)) == expected
    assert tokens(await queue.read_stream(job.id, count=50)) == expected
    assert 0 < raw.pttl(queue.keys.jstream(job.id)) <= 60_000


async def test_what_a_removed_job_has_put_out_is_not_taken_for_that_of_the_next_one_of_its_id(
    server: ValkeyServer, queue: AnyQueue, raw: Any
) -> None:
    async def call(job: Job[Any, Any]) -> None:
        await job.stream({"t": job.data})

    first = await queue.add("call", "old", job_id="chat", remove_on_complete=True)
    assert first is not None
    async with Worker[Any, Any](queue.name, call, connection=server.url):
        await eventually(lambda: not raw.exists(queue.keys.job("chat")), "the job is removed")
    second = await queue.add("call", "new", job_id="chat")
    assert second is not None
    assert await queue.read_stream("chat") == []
    async with Worker[Any, Any](queue.name, call, connection=server.url):
        assert await second.wait_until_finished(poll=0.01) == "completed"
    assert tokens(await queue.read_stream("chat")) == ["new"]


async def test_output_of_job_that_somebody_removes_goes_with_it(queue: AnyQueue) -> None:
    job = await added(queue)
    await job.stream({"t": "x"})
    await job.remove()
    assert await queue.read_stream(job.id) == []
    with pytest.raises(JobNotFoundError):
        await followed(queue, job.id)


async def test_output_of_a_removed_job_stays_no_longer_than_its_stream_ttl(
    server: ValkeyServer, queue: AnyQueue, raw: Any
) -> None:
    async def call(job: Job[Any, Any]) -> None:
        await job.stream({"t": "x"})

    job = await added(queue, remove_on_complete=True, stream_ttl=20)
    async with Worker[Any, Any](queue.name, call, connection=server.url):
        await eventually(lambda: not raw.exists(queue.keys.job(job.id)), "the job is removed")
    assert 0 < raw.pttl(queue.keys.jstream(job.id)) <= 20_000
