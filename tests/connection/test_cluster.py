"""Cluster mode: every queue on its node, the library wherever it is missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection, ReaderConnection
from glidemq.connection.reader_connection import GROUP, MAX_BLOCK_MS
from glidemq.errors import ConnectionError
from tests.connection.cluster import Cluster
from tests.connection.function_library import library

KEYS = [f"glide:{{queue-{n}}}:meta" for n in range(40)]  # spread over all nodes


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    running = Cluster()
    try:
        asyncio.run(running.start())
        yield running
    finally:
        running.stop()


@pytest.fixture
async def commands(cluster: Cluster) -> AsyncIterator[CommandConnection]:
    async with CommandConnection(ConnectionOptions.from_url(cluster.url), library=library()) as connection:
        yield connection


async def test_calls_of_one_turn_reach_the_nodes_of_their_queues_and_load_the_library_there(
    cluster: Cluster, commands: CommandConnection
) -> None:
    replies = await asyncio.gather(
        *(commands.call("gmq_increment", key, b"", replayable=False) for key in KEYS)
    )
    assert replies == [b"1"] * len(KEYS)
    for server in cluster.servers:
        assert cluster.run(server, "FCALL", "gmq_version", 0) == 1
        assert cluster.run(server, "DBSIZE") > 0


async def test_a_node_that_lost_the_library_gets_it_again(
    cluster: Cluster, commands: CommandConnection
) -> None:
    await asyncio.gather(*(commands.call("gmq_echo", key, b"", replayable=True) for key in KEYS))
    for server in cluster.servers:
        cluster.run(server, "FUNCTION", "FLUSH")
        replies = await asyncio.gather(
            *(commands.call("gmq_echo", key, b"x", replayable=False) for key in KEYS)
        )
        assert replies == [b"x"] * len(KEYS)
        assert cluster.run(server, "FCALL", "gmq_version", 0) == 1


async def test_queues_that_share_a_node_load_its_library_once(
    cluster: Cluster, commands: CommandConnection
) -> None:
    for server in cluster.servers:
        cluster.run(server, "FUNCTION", "FLUSH")
        cluster.run(server, "CONFIG", "RESETSTAT")
    await asyncio.gather(*(commands.call("gmq_echo", key, b"", replayable=True) for key in KEYS))
    for server in cluster.servers:
        assert cluster.run(server, "INFO", "commandstats")["cmdstat_function|load"]["calls"] == 1


async def test_scan_walks_the_node_of_the_queue(cluster: Cluster, commands: CommandConnection) -> None:
    for queue in ("a", "b", "c", "d"):
        for n in range(5):
            await commands.call("gmq_store", f"glide:{{{queue}}}:{n}", b"x", replayable=True)
    found = [key async for portion in commands.scan("glide:{c}:*", key="glide:{c}:meta") for key in portion]
    assert set(found) == {f"glide:{{c}}:{n}".encode() for n in range(5)}


@pytest.mark.parametrize("queue", ["a", "b", "c", "d"])
async def test_a_reader_reads_and_is_unblocked_on_any_node(
    cluster: Cluster, commands: CommandConnection, queue: str
) -> None:
    stream = f"glide:{{{queue}}}:stream"
    slot = cluster.run(cluster.servers[0], "CLUSTER", "KEYSLOT", stream)
    owner = cluster.owner_of(slot)
    cluster.run(owner, "XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM")
    reader = ReaderConnection(ConnectionOptions.from_url(cluster.url))
    try:
        cluster.run(owner, "XADD", stream, "*", "jobId", "1")
        entries = await reader.read_group("consumer", [stream], block_ms=1000)
        assert [entry.fields for entry in entries] == [{b"jobId": b"1"}]

        reading = asyncio.create_task(reader.read_group("consumer", [stream], block_ms=MAX_BLOCK_MS))
        async with asyncio.timeout(5):
            while not cluster.run(owner, "INFO", "clients")["blocked_clients"]:
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
