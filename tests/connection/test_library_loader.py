"""The function library reaches every server that lacks it, and never replaces a newer one."""

from __future__ import annotations

import asyncio

import pytest

from glidemq.connection.library_loader import ServerLibrary
from glidemq.errors import LibraryVersionError, QueueFullError
from glidemq_lua import LIBRARY_NAME, LIBRARY_VERSION
from tests.connection.conftest import Connect
from tests.connection.function_library import library
from tests.testkit.server import ValkeyServer


def version_on(server: ValkeyServer) -> object:
    with server.client() as client:
        return client.fcall("gmq_version", 0)


def load(server: ValkeyServer, version: int, extra: str = "") -> None:
    with server.client() as client:
        client.function_load(library(version, extra=extra).source, replace=True)


def loads_of(server: ValkeyServer) -> int:
    with server.client() as client:
        return int(client.info("commandstats").get("cmdstat_function|load", {"calls": 0})["calls"])


async def test_a_server_without_the_library_gets_it_at_the_first_call(
    own_server: ValkeyServer, connect: Connect
) -> None:
    assert await connect(own_server, version=3).call("gmq_echo", "k", b"x", replayable=False) == b"x"
    assert version_on(own_server) == 3


async def test_the_bundled_library_is_one_that_the_server_takes(
    own_server: ValkeyServer, connect: Connect
) -> None:
    bundled = ServerLibrary.bundled()
    assert (bundled.name, bundled.version) == (LIBRARY_NAME, LIBRARY_VERSION)
    with own_server.client() as client:
        client.function_load(bundled.source)
    assert version_on(own_server) == LIBRARY_VERSION


async def test_many_calls_that_miss_it_together_load_it_once(
    own_server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(own_server)
    replies = await asyncio.gather(
        *(connection.call("gmq_echo", "k", b"%d" % n, replayable=False) for n in range(300))
    )
    assert replies == [b"%d" % n for n in range(300)]
    assert loads_of(own_server) == 1


async def test_many_clients_that_miss_it_together_all_succeed(
    own_server: ValkeyServer, connect: Connect
) -> None:
    connections = [connect(own_server) for _ in range(8)]
    await asyncio.gather(*(connection.ping() for connection in connections))
    replies = await asyncio.gather(
        *(connection.call("gmq_echo", "k", b"x", replayable=False) for connection in connections)
    )
    assert replies == [b"x"] * 8


async def test_an_older_library_is_replaced_when_a_call_needs_more(
    own_server: ValkeyServer, connect: Connect
) -> None:
    load(own_server, 4)
    connection = connect(own_server, version=5)
    assert await connection.call("gmq_since", "k", b"5", replayable=False) == b"version 5"
    assert version_on(own_server) == 5


async def test_an_older_library_that_can_serve_the_call_is_left_alone(
    own_server: ValkeyServer, connect: Connect
) -> None:
    load(own_server, 4)
    assert await connect(own_server, version=5).call("gmq_since", "k", b"4", replayable=False) == b"version 4"
    assert version_on(own_server) == 4


async def test_an_older_library_without_the_function_is_replaced(
    own_server: ValkeyServer, connect: Connect
) -> None:
    load(own_server, 4)
    newcomer = connect(own_server, version=5, extra="define('new', function() return 'new' end)")
    assert await newcomer.call("gmq_new", "k", b"", replayable=False) == b"new"


async def test_a_newer_library_is_used_and_never_replaced(own_server: ValkeyServer, connect: Connect) -> None:
    load(own_server, 9)
    old = connect(own_server, version=5)
    assert await old.call("gmq_since", "k", b"5", replayable=False) == b"version 9"
    assert version_on(own_server) == 9


async def test_a_newer_library_without_an_old_function_is_not_replaced_either(
    own_server: ValkeyServer, connect: Connect
) -> None:
    load(own_server, 9)
    old = connect(own_server, version=5, extra="define('dropped', function() return 'x' end)")
    with pytest.raises(LibraryVersionError, match="gmq_dropped"):
        await old.call("gmq_dropped", "k", b"", replayable=False)
    assert version_on(own_server) == 9


async def test_old_and_new_clients_work_side_by_side_and_the_newer_library_stays(
    own_server: ValkeyServer, connect: Connect
) -> None:
    old, new = connect(own_server, version=5), connect(own_server, version=6)
    for _ in range(20):
        replies = await asyncio.gather(
            old.call("gmq_since", "k", b"5", replayable=False),
            new.call("gmq_since", "k", b"6", replayable=False),
        )
        assert replies[1] == b"version 6"
    assert version_on(own_server) == 6


async def test_function_flush_under_load_fails_no_call(own_server: ValkeyServer, connect: Connect) -> None:
    connection = connect(own_server)
    replies: list[bytes] = []
    stop = asyncio.Event()

    async def keep_calling() -> None:
        while not stop.is_set():
            replies.append(await connection.call("gmq_increment", "counter", b"", replayable=False))

    callers = [asyncio.create_task(keep_calling()) for _ in range(8)]
    with own_server.client() as client:
        for _ in range(25):
            reached = len(replies) + 50
            async with asyncio.timeout(10):
                while len(replies) < reached:
                    await asyncio.sleep(0.001)
            client.function_flush("SYNC")
        stop.set()
        await asyncio.gather(*callers)
        # Refused calls were repeated, and none was executed twice.
        assert sorted(int(reply) for reply in replies) == list(range(1, len(replies) + 1))
        assert int(client.get("counter") or 0) == len(replies)
    assert loads_of(own_server) >= 25


async def test_a_library_of_somebody_else_that_owns_our_function_names_is_named(
    own_server: ValkeyServer, connect: Connect
) -> None:
    with own_server.client() as client:
        client.function_load(
            "#!lua name=theirs\nredis.register_function('gmq_echo', function() return 'theirs' end)"
        )
    with pytest.raises(LibraryVersionError, match=r"gmq_append|gmq_\\w+ already exists|already exists"):
        await connect(own_server).call("gmq_increment", "k", b"", replayable=False)


async def test_a_user_who_may_not_load_it_learns_so(own_server: ValkeyServer, connect: Connect) -> None:
    with own_server.client() as client:
        client.acl_setuser(
            "worker",
            enabled=True,
            passwords=["+pw"],
            categories=["+@all"],
            commands=["-function"],
            keys=["*"],
        )
    restricted = connect(own_server, username="worker", password="pw")
    with pytest.raises(LibraryVersionError, match=r"may not load it .*NOPERM"):
        await restricted.call("gmq_echo", "k", b"x", replayable=True)

    load(own_server, 1)  # as an administrator would
    assert await restricted.call("gmq_echo", "k", b"x", replayable=True) == b"x"


async def test_a_server_without_memory_for_the_library_raises_queue_full(
    own_server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(own_server)
    await connection.ping()
    with own_server.client() as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(QueueFullError, match="out of memory"):
            await connection.call("gmq_echo", "k", b"x", replayable=True)
        client.config_set("maxmemory", "0")
    assert await connection.call("gmq_echo", "k", b"x", replayable=True) == b"x"
