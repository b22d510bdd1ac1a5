"""What a job streams reaches every reader once and in order, whoever dies in between, and costs few calls."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from glidemq import (
    Job,
    JobNotFoundError,
    LeaseLostError,
    SharedClient,
    StreamGapError,
    ValidationError,
    Worker,
)
from tests.promises.model_calls_app import stream_async
from tests.promises.streams import AnyQueue, added, followed, numbers, tokens
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        yield queue


# -- writing -------------------------------------------------------------------------------------------------


async def test_stream_returns_the_id_of_its_entry(queue: AnyQueue, raw: Any) -> None:
    job = await added(queue)
    ids = [
        await job.stream({"t": "he"}),
        await job.stream({"t": "llo"}),
        await job.stream_chunk("reasoning", "hm"),
    ]
    ids.append(await job.stream_chunk("done"))
    stored = raw.xrange(queue.keys.jstream(job.id))
    assert stored == [
        (ids[0].encode(), {b"t": b"he"}),
        (ids[1].encode(), {b"t": b"llo"}),
        (ids[2].encode(), {b"type": b"reasoning", b"content": b"hm"}),
        (ids[3].encode(), {b"type": b"done"}),
    ]


@pytest.mark.parametrize(
    ("chunk", "sentence"),
    [
        ({}, "Stream chunk must not be empty"),
        ({"t": "x" * 1_048_576}, r"Stream chunk exceeds maximum size \(1048577 bytes > 1048576\)"),
        ({"t": "ü" * 524_288}, r"Stream chunk exceeds maximum size \(1048577 bytes > 1048576\)"),
        ({"t": 5}, "chunk field 't' must be a text, not 5"),
        ({"t": b"x"}, "chunk field 't' must be a text, not b'x'"),
        ({5: "t"}, "a mapping of texts to texts"),
        ({"t": "\ud800"}, "a mapping of texts to texts"),
        ("text", "a mapping of texts to texts"),
        ({"x-py:attempt": "7"}, "must not start with 'x-py:'"),
    ],
)
async def test_chunk_that_makes_no_sense_is_refused_before_anything_is_sent(
    chunk: Any, sentence: str
) -> None:
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as unreachable:
        job = Job[Any, Any].from_hash({"id": b"1"}, queue_key="glide:{q}:meta", connection=unreachable)
        with pytest.raises(ValidationError, match=sentence):
            await job.stream(chunk)


async def test_largest_chunk_fits(queue: AnyQueue) -> None:
    job = await added(queue)
    await job.stream({"t": "x" * 1_048_575})
    assert len((await queue.read_stream(job.id))[0].fields["t"]) == 1_048_575


async def test_job_that_was_removed_cannot_stream(queue: AnyQueue) -> None:
    job = await added(queue)
    await job.remove()
    with pytest.raises(JobNotFoundError, match=f"job {job.id} does not exist"):
        await job.stream({"t": "x"})


async def test_run_that_lost_its_job_cannot_stream_into_the_next_one(
    server: ValkeyServer, queue: AnyQueue
) -> None:
    runs: list[Job[Any, Any]] = []

    async def call(job: Job[Any, Any]) -> None:
        runs.append(job)
        await job.stream({"t": str(len(runs))})
        if len(runs) == 1:
            raise ValueError("once")

    job = await added(queue, attempts=2)
    async with Worker[Any, Any](queue.name, call, connection=server.url):
        assert await job.wait_until_finished(poll=0.01) == "completed"
        with pytest.raises(LeaseLostError, match="was taken from this run"):
            await runs[0].stream({"t": "stale"})
        await runs[1].stream({"t": "last words"})
    assert tokens(await queue.read_stream(job.id)) == ["1", "2", "last words"]


async def test_chunks_that_nobody_waits_for_one_by_one_keep_their_order(queue: AnyQueue) -> None:
    job = await added(queue)
    ids = await asyncio.gather(*(job.stream({"t": token}) for token in numbers(1000)))
    entries = await queue.read_stream(job.id, count=5000)
    assert tokens(entries) == numbers(1000)
    assert [entry.id for entry in entries] == ids


async def test_chunks_of_hundreds_of_jobs_share_few_calls(server: ValkeyServer, queue: AnyQueue) -> None:
    jobs, chunks = 300, 20
    async with (
        await SharedClient.connect(server.url) as client,
        AnyQueue(queue.name, client=client) as writing,
    ):
        streams = await writing.add_bulk([("call", None)] * jobs)
        before = client.requests_sent

        async def write(job: Job[Any, Any]) -> None:
            for number in range(chunks):
                await job.stream({"t": str(number)})

        await asyncio.gather(*(write(job) for job in streams))
        assert client.requests_sent - before <= 4 * chunks
        for job in streams[::60]:
            assert tokens(await writing.read_stream(job.id)) == numbers(chunks)


# -- reading -------------------------------------------------------------------------------------------------


async def test_read_goes_on_behind_the_last_chunk_seen(queue: AnyQueue) -> None:
    job = await added(queue)
    for token in numbers(10):
        await job.stream({"t": token})
    first = await queue.read_stream(job.id, count=4)
    rest = await queue.read_stream(job.id, last_id=first[-1].id)
    assert tokens(first) + tokens(rest) == numbers(10)
    assert await queue.read_stream(job.id, last_id=rest[-1].id) == []
    assert await queue.read_stream("none") == []


async def test_read_waits_for_a_chunk_and_holds_nobody_up(queue: AnyQueue) -> None:
    job = await added(queue)
    reading = asyncio.create_task(queue.read_stream(job.id, block=20))
    for _ in range(20):  # the queue's one connection serves others meanwhile
        assert await queue.get_job(job.id) is not None
    assert not reading.done()
    await job.stream({"t": "x"})
    assert tokens(await reading) == ["x"]
    assert await queue.read_stream("none", block=timedelta(milliseconds=30)) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"count": 0}, "count must be a positive integer"),
        ({"count": 1.5}, "count must be a positive integer"),
        ({"last_id": "$"}, "last_id must be the id of a chunk"),
        ({"last_id": "1-"}, "last_id must be the id of a chunk"),
        ({"last_id": 5}, "last_id must be the id of a chunk"),
        ({"block": 5000}, "5_000 milliseconds are block=5"),
        ({"block": -1}, "block must be a non-negative finite number"),
    ],
)
async def test_reading_that_makes_no_sense_is_refused_before_anything_is_sent(
    arguments: Any, sentence: str
) -> None:
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as unreachable:
        with pytest.raises(ValidationError, match=sentence):
            await unreachable.read_stream("1", **arguments)


@pytest.mark.parametrize(
    "end", [{"t": "", "done": "1"}, {"type": "done"}], ids=lambda end: next(iter(end.values())) or "flag"
)
async def test_iteration_ends_behind_the_chunk_that_says_so(queue: AnyQueue, end: dict[str, str]) -> None:
    job = await added(queue)
    reading = asyncio.create_task(followed(queue, job.id))
    for token in numbers(3):
        await job.stream({"t": token})
    await job.stream(end)
    entries = await reading
    assert tokens(entries)[:3] == numbers(3)
    assert entries[-1].fields == end
    assert entries[-1].is_last


@pytest.mark.parametrize("outcome", ["completed", "failed"])
async def test_iteration_ends_with_the_job_even_if_nothing_says_so(
    server: ValkeyServer, queue: AnyQueue, outcome: str
) -> None:
    async def call(job: Job[Any, Any]) -> None:
        for token in numbers(250):
            await job.stream({"t": token})
        if outcome == "failed":
            raise ValueError("for good")

    job = await added(queue)
    reading = asyncio.create_task(followed(queue, job.id))
    async with Worker[Any, Any](queue.name, call, connection=server.url):
        assert tokens(await reading) == numbers(250)
    assert await job.get_state() == outcome
    assert tokens(await followed(queue, job.id)) == numbers(250)


async def test_iteration_over_no_job_or_one_that_vanishes_says_so(queue: AnyQueue) -> None:
    with pytest.raises(JobNotFoundError):
        await followed(queue, "none")
    job = await added(queue)
    await job.stream({"t": "x"})
    async with aclosing(queue.stream(job.id)) as entries:
        assert (await anext(entries)).fields == {"t": "x"}
        await job.remove()
        with pytest.raises(JobNotFoundError):
            await anext(entries)


async def test_reader_that_starts_over_from_any_chunk_misses_nothing(queue: AnyQueue) -> None:
    job = await added(queue)
    for token in numbers(30):
        await job.stream({"t": token})
    await job.stream({"done": "1"})
    whole = await followed(queue, job.id)
    for position in (0, 1, 17, 29):
        assert await followed(queue, job.id, whole[position].id) == whole[position + 1 :]


async def test_trimmed_chunks_are_not_passed_over_in_silence(queue: AnyQueue) -> None:
    job = await added(queue, stream_limit=10)
    assert job.opts.get("stream_limit") == 10
    ids = [await job.stream({"t": token}) for token in numbers(30)]
    with pytest.raises(StreamGapError, match=f"up to {ids[19]} are gone") as gap:
        await queue.read_stream(job.id)
    assert tokens(await queue.read_stream(job.id, last_id=gap.value.last_id)) == numbers(30)[20:]
    with pytest.raises(StreamGapError):
        await followed(queue, job.id, ids[5])


async def test_stream_that_has_expired_is_told_from_an_empty_one(
    server: ValkeyServer, queue: AnyQueue, raw: Any
) -> None:
    job = await added(queue, {"chunks": 3}, stream_ttl=0.05)
    silent = await added(queue, {"chunks": 0}, stream_ttl=timedelta(hours=1))
    async with Worker[Any, Any](queue.name, stream_async, connection=server.url):
        await job.wait_until_finished(poll=0.01)
        await silent.wait_until_finished(poll=0.01)
    await eventually(lambda: not raw.exists(queue.keys.jstream(job.id)), "the stream expires")
    with pytest.raises(StreamGapError):
        await queue.read_stream(job.id)
    assert len(await queue.read_stream(silent.id)) == 1


@pytest.mark.parametrize("options", [{"stream_limit": 0}, {"stream_limit": True}, {"stream_ttl": 0}])
async def test_limits_that_make_no_sense_are_refused(queue: AnyQueue, options: Any) -> None:
    with pytest.raises(ValidationError, match="must be a positive"):
        await queue.add("call", None, **options)


# -- when things break ---------------------------------------------------------------------------------------


async def test_reader_waits_a_server_out_and_misses_nothing(own_server: ValkeyServer) -> None:
    async with (
        AnyQueue("q", connection=own_server.url) as reading,
        AnyQueue("q", connection=own_server.url) as writing,
    ):
        job = await added(writing)
        await job.stream({"t": "0"})
        async with aclosing(reading.stream(job.id)) as entries:
            assert (await anext(entries)).fields == {"t": "0"}
            following = asyncio.ensure_future(anext(entries))
            own_server.kill()
            own_server.start()
            await job.stream({"t": "1"})
            await job.stream({"t": "2", "done": "1"})
            rest = [(await following).fields["t"], *[entry.fields["t"] async for entry in entries]]
    assert rest == ["1", "2"]


@pytest.fixture
def runtime(own_server: ValkeyServer, tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(
        tmp_path / "runtime",
        "tests.promises.model_calls_app:app",
        url=own_server.url,
        effects=tmp_path / "effects",
        arguments=["--procs", "1"],
    )
    yield made.start()
    made.clean_up()


async def test_actor_processes_stream_and_their_gateway_makes_few_calls(
    runtime: Runtime, own_server: ValkeyServer
) -> None:
    jobs, chunks = 80, 50
    await runtime.ready()
    client = own_server.client()
    async with (
        AnyQueue("async-streams", connection=own_server.url) as coroutines,
        AnyQueue("sync-streams", connection=own_server.url) as sync,
    ):
        calls_before = appending_calls(client)
        streams = await coroutines.add_bulk([("call", {"chunks": chunks})] * jobs)
        for entries in await asyncio.gather(*(followed(coroutines, job.id) for job in streams)):
            assert tokens(entries) == numbers(chunks)
        assert appending_calls(client) - calls_before < jobs * chunks / 10
        blocking = await added(sync, {"chunks": 20, "fails": True}, attempts=2)
        entries = await followed(sync, blocking.id)
        assert tokens(entries) == numbers(10) + numbers(20)
        assert [entry.attempt for entry in entries] == [1] * 10 + [2] * 21
    client.close()


def appending_calls(client: Any) -> int:
    """How many calls the server has seen; what the runtime calls beside is little."""
    return int(client.info("commandstats").get("cmdstat_set", {}).get("calls", 0))


async def test_chunks_are_neither_lost_nor_doubled_when_the_gateway_dies(
    runtime: Runtime, own_server: ValkeyServer
) -> None:
    chunks = 300
    await runtime.ready()
    async with (
        AnyQueue("async-streams", connection=own_server.url) as coroutines,
        AnyQueue("sync-streams", connection=own_server.url) as sync,
    ):
        streams = [(coroutines, await added(coroutines, {"chunks": chunks})) for _ in range(20)]
        streams.append((sync, await added(sync, {"chunks": chunks})))
        readers = [asyncio.create_task(followed(queue, job.id)) for queue, job in streams]

        async def under_way() -> bool:
            return all([len(await queue.read_stream(job.id)) > 10 for queue, job in streams])

        await eventually(under_way, "all of them stream")
        os.kill(runtime.gateway, signal.SIGKILL)
        for entries in await asyncio.gather(*readers):
            assert tokens(entries) == numbers(chunks)
            assert {entry.attempt for entry in entries} == {1}
