"""Replies that never arrive: the call was executed, and the caller must not be told otherwise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import valkey

from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection, ReaderConnection
from glidemq.connection.reader_connection import GROUP
from glidemq.errors import ConnectionError, UnknownOutcomeError
from tests.connection.faulty_proxy import FaultyProxy
from tests.connection.function_library import library
from tests.testkit.server import ValkeyServer


@pytest.fixture
async def proxy(server: ValkeyServer) -> AsyncIterator[FaultyProxy]:
    running = FaultyProxy(str(server.socket))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def connection(proxy: FaultyProxy) -> AsyncIterator[CommandConnection]:
    options = ConnectionOptions.from_url(proxy.url, request_timeout=0.5, request_deadline=5.0)
    async with CommandConnection(options, library=library()) as connection:
        await connection.call("gmq_echo", "k", b"warm", replayable=True)
        yield connection


async def test_a_call_whose_reply_is_lost_has_an_unknown_outcome_and_was_executed_once(
    proxy: FaultyProxy, connection: CommandConnection, queue_name: str, raw: valkey.Valkey
) -> None:
    proxy.lose_reply_to = b"gmq_increment"
    with pytest.raises(UnknownOutcomeError):
        await connection.call("gmq_increment", queue_name, b"", replayable=False)
    assert raw.get(queue_name) == b"1"


async def test_a_replayable_call_whose_reply_is_lost_is_sent_again(
    proxy: FaultyProxy, connection: CommandConnection, queue_name: str, raw: valkey.Valkey
) -> None:
    proxy.lose_reply_to = b"gmq_increment"
    # Executed twice: it is for the call's own token to make the second time harmless.
    assert await connection.call("gmq_increment", queue_name, b"", replayable=True) == b"2"
    assert raw.get(queue_name) == b"2"


async def test_a_batch_whose_replies_are_lost_is_unknown_call_by_call(
    proxy: FaultyProxy, connection: CommandConnection, queue_name: str, raw: valkey.Valkey
) -> None:
    proxy.lose_reply_to = b"gmq_increment"
    results = await asyncio.gather(
        connection.call("gmq_increment", queue_name, b"", replayable=False),
        connection.call("gmq_echo", queue_name, b"x", replayable=True),
        connection.call("gmq_increment", queue_name, b"", replayable=False),
        return_exceptions=True,
    )
    assert isinstance(results[0], UnknownOutcomeError)
    assert results[1] == b"x"
    assert isinstance(results[2], UnknownOutcomeError)
    assert raw.get(queue_name) == b"2"


async def test_a_silent_network_leaves_outcomes_unknown_and_is_got_over(
    proxy: FaultyProxy, connection: CommandConnection, queue_name: str
) -> None:
    proxy.mute()
    with pytest.raises(UnknownOutcomeError):
        await connection.call("gmq_increment", queue_name, b"", replayable=False)
    call = asyncio.create_task(connection.call("gmq_echo", "k", b"x", replayable=True))
    await asyncio.wait([call], timeout=0.1)
    assert not call.done()
    proxy.unmute()
    assert await call == b"x"


async def test_a_blocking_read_notices_a_silent_network(
    proxy: FaultyProxy, queue_name: str, raw: valkey.Valkey
) -> None:
    raw.xgroup_create(queue_name, GROUP, "0", mkstream=True)
    reader = ReaderConnection(ConnectionOptions.from_url(proxy.url))
    assert await reader.read_group("c", [queue_name], block_ms=10) == []
    proxy.mute()
    started = time.monotonic()
    with pytest.raises(ConnectionError):
        await reader.read_group("c", [queue_name], block_ms=300)
    assert 0.3 <= time.monotonic() - started < 3.0
    assert reader.failures == 1
    await reader.close()
