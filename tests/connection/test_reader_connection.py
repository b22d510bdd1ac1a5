"""Blocking reads: what they return, how they end, and what becomes of those that nobody waits for."""

from __future__ import annotations

import asyncio
import time

import pytest
import valkey

from glidemq.config import ConnectionOptions
from glidemq.connection.reader_connection import GROUP, MAX_BLOCK_MS, ReaderConnection, StreamEntry
from glidemq.errors import ClosedError, ConnectionError, GroupMissingError, ServerError, ValidationError
from tests.connection.conftest import Connect, Read
from tests.testkit.server import ValkeyServer


@pytest.fixture
def stream(queue_name: str, raw: valkey.Valkey) -> str:
    name = f"glide:{{{queue_name}}}:stream"
    raw.xgroup_create(name, GROUP, "0", mkstream=True)
    return name


async def until_blocked(client: valkey.Valkey, count: int = 1) -> None:
    async with asyncio.timeout(5):
        while client.info("clients")["blocked_clients"] < count:
            await asyncio.sleep(0.002)


async def test_waiting_entries_are_returned_at_once_and_stay_pending(
    server: ValkeyServer, read: Read, stream: str, raw: valkey.Valkey
) -> None:
    entry_id = raw.xadd(stream, {b"jobId": b"\xff1", b"x": b""})
    entries = await read(server).read_group("consumer", [stream], block_ms=5000)
    assert entries == [StreamEntry(stream, entry_id, {b"jobId": b"\xff1", b"x": b""})]
    assert raw.xpending(stream, GROUP)["pending"] == 1


async def test_an_entry_added_while_it_blocks_ends_the_read(
    server: ValkeyServer, read: Read, stream: str, raw: valkey.Valkey
) -> None:
    reading = asyncio.create_task(read(server).read_group("consumer", [stream], block_ms=5000))
    await until_blocked(raw)
    entry_id = raw.xadd(stream, {"jobId": "1"})
    assert [entry.entry_id for entry in await reading] == [entry_id]


async def test_a_read_whose_time_is_up_returns_nothing(server: ValkeyServer, read: Read, stream: str) -> None:
    assert await read(server).read_group("consumer", [stream], block_ms=20) == []


async def test_one_read_serves_several_streams_with_a_count_for_each(
    server: ValkeyServer, read: Read, queue_name: str, raw: valkey.Valkey
) -> None:
    streams = [f"{queue_name}-{n}" for n in range(3)]
    for name in streams:
        raw.xgroup_create(name, GROUP, "0", mkstream=True)
        for n in range(3):
            raw.xadd(name, {"n": n})
    entries = await read(server).read_group("consumer", streams, block_ms=1000, count=2)
    assert [(entry.stream, entry.fields[b"n"]) for entry in entries] == [
        (name, value) for name in streams for value in (b"0", b"1")
    ]


async def test_plain_reads_start_after_a_given_entry(
    server: ValkeyServer, read: Read, queue_name: str, raw: valkey.Valkey
) -> None:
    first = raw.xadd(queue_name, {"n": 1})
    second = raw.xadd(queue_name, {"n": 2})
    entries = await read(server).read_stream({queue_name: first.decode()}, block_ms=1000, count=10)
    assert entries == [StreamEntry(queue_name, second, {b"n": b"2"})]


async def test_unblock_ends_a_read_at_once_with_nothing(
    server: ValkeyServer, connect: Connect, read: Read, stream: str, raw: valkey.Valkey
) -> None:
    reader, commands = read(server), connect(server)
    await commands.ping()
    reading = asyncio.create_task(reader.read_group("consumer", [stream], block_ms=MAX_BLOCK_MS))
    await until_blocked(raw)
    started = time.monotonic()
    assert await reader.unblock(commands) is True
    assert await reading == []
    assert time.monotonic() - started < 1.0


async def test_unblock_reaches_a_read_that_was_only_just_sent(
    server: ValkeyServer, connect: Connect, read: Read, stream: str
) -> None:
    reader, commands = read(server), connect(server)
    await commands.ping()
    await reader.read_group("consumer", [stream], block_ms=1)
    for turns in range(20):  # a race: let the read get a little further each time
        reading = asyncio.create_task(reader.read_group("consumer", [stream], block_ms=MAX_BLOCK_MS))
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        async with asyncio.timeout(2):
            while not await reader.unblock(commands):  # before the read exists there is nothing to unblock
                await asyncio.sleep(0)
            assert await reading == []


async def test_unblock_without_a_read_says_so(server: ValkeyServer, connect: Connect, read: Read) -> None:
    assert await read(server).unblock(connect(server)) is False


async def test_unblock_works_again_after_a_silent_reconnect(
    own_server: ValkeyServer, connect: Connect, read: Read
) -> None:
    reader, commands = read(own_server), connect(own_server)
    with own_server.client() as client:
        client.xgroup_create("s", GROUP, "0", mkstream=True)
        await reader.read_group("consumer", ["s"], block_ms=1)
        await commands.ping()
        for connection in client.client_list():
            if connection["name"] == "glidemq-reader":
                client.client_kill_filter(_id=connection["id"])
        # The first read after it may fail, or find a new connection and an id that is no longer ours; by the
        # third the reader knows its id again.
        for _ in range(2):
            reading = asyncio.create_task(reader.read_group("consumer", ["s"], block_ms=200))
            await asyncio.wait([reading], timeout=0.05)
            await reader.unblock(commands)
            await asyncio.wait([reading])
            reading.exception()
        reading = asyncio.create_task(reader.read_group("consumer", ["s"], block_ms=MAX_BLOCK_MS))
        await until_blocked(client)
        assert await reader.unblock(commands) is True
        assert await reading == []


async def test_entries_of_an_abandoned_read_are_returned_by_the_next_one(
    server: ValkeyServer, read: Read, stream: str, raw: valkey.Valkey
) -> None:
    reader = read(server)
    reading = asyncio.create_task(reader.read_group("consumer", [stream], block_ms=5000))
    await until_blocked(raw)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    entry_id = raw.xadd(stream, {"jobId": "1"})  # delivered to the abandoned read: it still blocks
    entries = await reader.read_group("consumer", [stream], block_ms=5000)
    assert [entry.entry_id for entry in entries] == [entry_id]


async def test_a_second_read_at_the_same_time_is_a_mistake_of_the_caller(
    server: ValkeyServer, read: Read, stream: str, raw: valkey.Valkey
) -> None:
    reader = read(server)
    reading = asyncio.create_task(reader.read_group("consumer", [stream], block_ms=5000))
    await until_blocked(raw)
    with pytest.raises(RuntimeError, match="one read at a time"):
        await reader.read_group("consumer", [stream], block_ms=5000)
    raw.xadd(stream, {"jobId": "1"})
    assert len(await reading) == 1


async def test_close_ends_a_read_at_once_and_the_server_forgets_it(
    server: ValkeyServer, read: Read, stream: str, raw: valkey.Valkey
) -> None:
    reader = read(server)
    reading = asyncio.create_task(reader.read_group("consumer", [stream], block_ms=MAX_BLOCK_MS))
    await until_blocked(raw)
    await asyncio.gather(reader.close(), reader.close())
    with pytest.raises(ClosedError):
        await reading
    async with asyncio.timeout(2):
        while raw.info("clients")["blocked_clients"]:
            await asyncio.sleep(0.005)
    with pytest.raises(ClosedError):
        await reader.read_group("consumer", [stream], block_ms=10)


async def test_a_missing_group_raises_group_missing_error(
    server: ValkeyServer, read: Read, stream: str, queue_name: str
) -> None:
    with pytest.raises(GroupMissingError, match=r"NOGROUP|No such key"):
        await read(server).read_group("consumer", [stream, f"{queue_name}-missing"], block_ms=10)


async def test_a_stream_deleted_while_it_blocks_raises_group_missing_error(
    server: ValkeyServer, read: Read, stream: str, raw: valkey.Valkey
) -> None:
    reading = asyncio.create_task(read(server).read_group("consumer", [stream], block_ms=5000))
    await until_blocked(raw)
    raw.delete(stream)
    with pytest.raises(GroupMissingError):
        await reading


async def test_a_key_that_is_no_stream_raises_server_error_with_its_code(
    server: ValkeyServer, read: Read, stream: str, queue_name: str, raw: valkey.Valkey
) -> None:
    raw.set(f"{queue_name}-text", "x")
    with pytest.raises(ServerError) as caught:
        await read(server).read_group("consumer", [stream, f"{queue_name}-text"], block_ms=10)
    assert caught.value.code == "WRONGTYPE"


async def test_a_kill_of_the_server_ends_the_read_and_later_reads_work(
    own_server: ValkeyServer, read: Read
) -> None:
    reader: ReaderConnection = read(own_server)
    with own_server.client() as client:
        client.xgroup_create("s", GROUP, "0", mkstream=True)
        reading = asyncio.create_task(reader.read_group("consumer", ["s"], block_ms=MAX_BLOCK_MS))
        await until_blocked(client)
    own_server.kill()
    with pytest.raises(ConnectionError):
        await reading
    assert reader.failures == 1
    await asyncio.to_thread(own_server.start)
    with own_server.client() as client:
        client.xgroup_create("s", GROUP, "0", mkstream=True) if not client.exists("s") else None
        client.xadd("s", {"jobId": "1"})
    async with asyncio.timeout(10):
        while True:
            try:
                entries = await reader.read_group("consumer", ["s"], block_ms=500)
                break
            except ConnectionError:
                await asyncio.sleep(0.02)
    assert [entry.fields for entry in entries] == [{b"jobId": b"1"}]


@pytest.mark.parametrize("block_ms", [0, -1, MAX_BLOCK_MS + 1])
async def test_reads_that_block_for_ever_or_too_long_are_refused(
    server: ValkeyServer, read: Read, block_ms: int
) -> None:
    with pytest.raises(ValidationError, match="block_ms"):
        await read(server).read_group("consumer", ["s"], block_ms=block_ms)


async def test_reading_on_from_the_newest_entry_misses_nothing(
    server: ValkeyServer, read: Read, queue_name: str, raw: valkey.Valkey
) -> None:
    reader = read(server)
    assert await reader.newest_entry_id(queue_name) == "0-0"
    raw.xadd(queue_name, {"n": 1})
    newest = raw.xadd(queue_name, {"n": 2})
    start = await reader.newest_entry_id(queue_name)
    assert start.encode() == newest
    third = raw.xadd(queue_name, {"n": 3})
    entries = await reader.read_stream({queue_name: start}, block_ms=1000, count=10)
    assert [entry.entry_id for entry in entries] == [third]


async def test_the_newest_entry_of_what_is_no_stream_is_an_error(
    server: ValkeyServer, read: Read, queue_name: str, raw: valkey.Valkey
) -> None:
    raw.set(queue_name, "text")
    with pytest.raises(ServerError, match=r"WRONGTYPE|wrong kind"):
        await read(server).newest_entry_id(queue_name)


async def test_concurrent_first_uses_open_one_connection(server: ValkeyServer, raw: valkey.Valkey) -> None:
    reader = ReaderConnection(ConnectionOptions.from_url(server.url), client_name="glidemq-reader-first-use")
    await asyncio.gather(*(reader.open() for _ in range(5)))
    assert [c["name"] for c in raw.client_list()].count("glidemq-reader-first-use") == 1
    await reader.close()


async def test_closing_while_it_connects_leaves_no_connection(
    server: ValkeyServer, raw: valkey.Valkey
) -> None:
    reader = ReaderConnection(ConnectionOptions.from_url(server.url), client_name="glidemq-reader-closing")
    opening = asyncio.create_task(reader.open())
    await asyncio.sleep(0)
    await reader.close()
    with pytest.raises(ClosedError):
        await opening
    async with asyncio.timeout(5):
        while "glidemq-reader-closing" in {c["name"] for c in raw.client_list()}:
            await asyncio.sleep(0.01)
