"""Cluster mode: every queue on its node, the library wherever it is missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection, ReaderConnection
from glidemq.connection.reader_connection import GROUP, MAX_BLOCK_MS
from glidemq.errors import ConnectionError
from tests.connection.function_library import library
from tests.testkit.cluster import OwnCluster

KEYS = [f"glide:{{queue-{n}}}:meta" for n in range(40)]  # spread over all nodes


@pytest.fixture(scope="module")
def cluster() -> Iterator[OwnCluster]:
    """One of its own: these tests load function libraries of their own, and flush them."""
    running = OwnCluster()
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
async def commands(cluster: OwnCluster) -> AsyncIterator[CommandConnection]:
    async with CommandConnection(ConnectionOptions.from_url(cluster.url), library=library()) as connection:
        yield connection


async def test_calls_of_one_turn_reach_the_nodes_of_their_queues_and_load_the_library_there(
    cluster: OwnCluster, commands: CommandConnection
) -> None:
    replies = await asyncio.gather(
        *(commands.call("gmq_increment", key, b"", replayable=False) for key in KEYS)
    )
    assert replies == [b"1"] * len(KEYS)
    for node in cluster.primaries:
        assert node.ask("FCALL", "gmq_version", 0) == 1
        assert node.ask("DBSIZE") > 0


async def test_a_node_that_lost_the_library_gets_it_again(
    cluster: OwnCluster, commands: CommandConnection
) -> None:
    await asyncio.gather(*(commands.call("gmq_echo", key, b"", replayable=True) for key in KEYS))
    for node in cluster.primaries:
        node.ask("FUNCTION", "FLUSH")
        replies = await asyncio.gather(
            *(commands.call("gmq_echo", key, b"x", replayable=False) for key in KEYS)
        )
        assert replies == [b"x"] * len(KEYS)
        assert node.ask("FCALL", "gmq_version", 0) == 1


async def test_queues_that_share_a_node_load_its_library_once(
    cluster: OwnCluster, commands: CommandConnection
) -> None:
    for node in cluster.primaries:
        node.ask("FUNCTION", "FLUSH")
        node.ask("CONFIG", "RESETSTAT")
    await asyncio.gather(*(commands.call("gmq_echo", key, b"", replayable=True) for key in KEYS))
    for node in cluster.primaries:
        assert node.ask("INFO", "commandstats")["cmdstat_function|load"]["calls"] == 1


async def test_scan_walks_the_node_of_the_queue(cluster: OwnCluster, commands: CommandConnection) -> None:
    for queue in ("a", "b", "c", "d"):
        for n in range(5):
            await commands.call("gmq_store", f"glide:{{{queue}}}:{n}", b"x", replayable=True)
    found = [key async for portion in commands.scan("glide:{c}:*", key="glide:{c}:meta") for key in portion]
    assert set(found) == {f"glide:{{c}}:{n}".encode() for n in range(5)}


@pytest.mark.parametrize("queue", ["a", "b", "c", "d"])
async def test_a_reader_reads_and_is_unblocked_on_any_node(
    cluster: OwnCluster, commands: CommandConnection, queue: str
) -> None:
    stream = f"glide:{{{queue}}}:stream"
    owner = cluster.primary_of(stream)
    owner.ask("XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM")
    reader = ReaderConnection(ConnectionOptions.from_url(cluster.url))
    try:
        owner.ask("XADD", stream, "*", "jobId", "1")
        entries = await reader.read_group("consumer", [stream], block_ms=1000)
        assert [entry.fields for entry in entries] == [{b"jobId": b"1"}]

        reading = asyncio.create_task(reader.read_group("consumer", [stream], block_ms=MAX_BLOCK_MS))
        async with asyncio.timeout(5):
            while not owner.ask("INFO", "clients")["blocked_clients"]:
                await asyncio.sleep(0.002)
            assert await reader.unblock(commands) is True
            assert await reading == []
    finally:
        await reader.close()


async def test_a_cluster_that_cannot_be_reached_raises_connection_error() -> None:
    options = ConnectionOptions.from_url("valkey+cluster://127.0.0.1:1?connection_timeout=300ms")
    async with CommandConnection(options) as connection:
        with pytest.raises(ConnectionError, match="connection refused"):
            await connection.open()
