"""Calls over a connection of one's own: replies, batches, opening, closing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import valkey

from glidemq.commands.command import Command, pack
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection, SharedClient
from glidemq.connection.fcall_pipeline import MAX_BATCH_CALLS
from glidemq.errors import AuthenticationError, ClosedError, ConfigurationError, ConnectionError
from tests.connection.conftest import Connect
from tests.connection.function_library import library
from tests.testkit.server import ValkeyServer


class Echo(Command[Any]):
    """Sends a packed array and gets it back decoded."""

    function = "gmq_echo"
    replayable = True

    def arguments(self) -> bytes:
        return pack(["ok", "text", 7])

    def parse_reply(self, reply: list[Any]) -> Any:
        return reply


async def test_a_command_is_executed_and_its_reply_parsed(server: ValkeyServer, connect: Connect) -> None:
    assert await connect(server).execute(Echo("k")) == [b"ok", b"text", 7]


async def test_binary_arguments_and_replies_pass_unchanged(server: ValkeyServer, connect: Connect) -> None:
    every_byte = bytes(range(256)) * 4
    assert await connect(server).call("gmq_echo", "k", every_byte, replayable=True) == every_byte


async def test_calls_of_one_turn_leave_as_one_request_and_get_their_own_replies(
    server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(server)
    await connection.call("gmq_echo", "k", b"warm", replayable=True)
    before = connection.requests_sent

    calls = [connection.call("gmq_echo", "k", b"%d" % n, replayable=True) for n in range(100)]
    assert await asyncio.gather(*calls) == [b"%d" % n for n in range(100)]

    assert connection.requests_sent - before == 1


async def test_calls_of_one_turn_are_executed_in_the_order_in_which_they_were_made(
    server: ValkeyServer, connect: Connect, queue_name: str, raw: valkey.Valkey
) -> None:
    connection = connect(server)
    order = [b"%d" % n for n in range(50)]
    await asyncio.gather(
        *(connection.call("gmq_append", queue_name, item, replayable=False) for item in order)
    )
    assert raw.lrange(queue_name, 0, -1) == order


async def test_more_calls_than_the_client_takes_at_once_are_all_answered(
    server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(server, inflight_requests_limit=1)
    count = 1100
    calls = [connection.call("gmq_echo", "k", b"%d" % n, replayable=False) for n in range(count)]
    assert await asyncio.gather(*calls) == [b"%d" % n for n in range(count)]
    assert connection.requests_sent >= count // MAX_BATCH_CALLS


async def test_payloads_beyond_a_mebibyte_are_spread_over_several_batches(
    server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(server)
    await connection.call("gmq_echo", "k", b"warm", replayable=True)
    before = connection.requests_sent
    payload = b"x" * 400_000
    replies = await asyncio.gather(
        *(connection.call("gmq_echo", "k", payload, replayable=True) for _ in range(6))
    )
    assert replies == [payload] * 6
    assert connection.requests_sent - before == 3


async def test_one_refused_call_leaves_the_others_of_its_batch_alone(
    server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(server)
    results = await asyncio.gather(
        connection.call("gmq_echo", "k", b"1", replayable=True),
        connection.call("gmq_refuse", "k", b"WRONGTYPE no", replayable=True),
        connection.call("gmq_echo", "k", b"3", replayable=True),
        return_exceptions=True,
    )
    assert results[0] == b"1"
    assert isinstance(results[1], Exception)
    assert results[2] == b"3"


async def test_the_connection_shows_its_name_and_library_to_the_server(
    server: ValkeyServer, raw: valkey.Valkey
) -> None:
    async with CommandConnection(
        ConnectionOptions.from_url(server.url), client_name="glidemq-naming-test", library=library()
    ) as connection:
        await connection.ping()
        mine = [c for c in raw.client_list() if c["name"] == "glidemq-naming-test"]
        assert len(mine) == 1
        assert mine[0]["lib-name"].startswith("GlidePy(glidemq:")


async def test_a_name_that_the_server_would_refuse_is_refused_before_connecting(server: ValkeyServer) -> None:
    connection = CommandConnection(ConnectionOptions.from_url(server.url), client_name="two words")
    with pytest.raises(ConfigurationError, match="client name"):
        await connection.open()
    await connection.close()


async def test_close_finishes_the_calls_in_flight(server: ValkeyServer, connect: Connect) -> None:
    connection = connect(server)
    await connection.open()
    slow = asyncio.create_task(connection.call("gmq_spin", "k", b"10", replayable=False))
    await asyncio.sleep(0)  # the call is made; its batch is not even sent yet
    await connection.close()
    assert slow.done()
    assert await slow == b"ok"


async def test_close_may_be_called_twice_and_at_once(server: ValkeyServer, connect: Connect) -> None:
    connection = connect(server)
    await connection.ping()
    await asyncio.gather(connection.close(), connection.close())
    await connection.close()


async def test_close_without_ever_having_connected(server: ValkeyServer, connect: Connect) -> None:
    await connect(server).close()


async def test_use_after_close_raises_closed_error(server: ValkeyServer, connect: Connect) -> None:
    connection = connect(server)
    await connection.ping()
    await connection.close()
    with pytest.raises(ClosedError):
        await connection.ping()
    with pytest.raises(ClosedError):
        await connection.call("gmq_echo", "k", b"x", replayable=True)
    with pytest.raises(ClosedError):
        await connection.open()


async def test_closing_leaves_no_connection_on_the_server(server: ValkeyServer, raw: valkey.Valkey) -> None:
    connection = CommandConnection(ConnectionOptions.from_url(server.url), client_name="glidemq-closing-test")
    await connection.ping()
    assert "glidemq-closing-test" in {c["name"] for c in raw.client_list()}
    await connection.close()
    async with asyncio.timeout(5):
        while "glidemq-closing-test" in {c["name"] for c in raw.client_list()}:
            await asyncio.sleep(0.01)


async def test_concurrent_first_uses_open_one_connection(server: ValkeyServer, raw: valkey.Valkey) -> None:
    connection = CommandConnection(ConnectionOptions.from_url(server.url), client_name="glidemq-first-use")
    await asyncio.gather(*(connection.ping() for _ in range(20)))
    assert [c["name"] for c in raw.client_list()].count("glidemq-first-use") == 1
    await connection.close()


def test_a_connection_belongs_to_the_event_loop_that_first_used_it(server: ValkeyServer) -> None:
    connection = CommandConnection(ConnectionOptions.from_url(server.url))

    async def elsewhere() -> None:
        with pytest.raises(ConfigurationError, match="event loop"):
            await connection.ping()

    with asyncio.Runner() as runner:
        runner.run(connection.ping())
        asyncio.new_event_loop().run_until_complete(elsewhere())
        runner.run(connection.close())


async def test_a_cancelled_caller_disturbs_nobody(server: ValkeyServer, connect: Connect) -> None:
    connection = connect(server)
    await connection.open()
    cancelled = asyncio.create_task(connection.call("gmq_echo", "k", b"1", replayable=True))
    kept = asyncio.create_task(connection.call("gmq_echo", "k", b"2", replayable=True))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await kept == b"2"
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_a_call_cancelled_before_it_was_sent_is_never_executed(
    server: ValkeyServer, connect: Connect, queue_name: str, raw: valkey.Valkey
) -> None:
    connection = connect(server)
    await connection.open()
    call = asyncio.create_task(connection.call("gmq_increment", queue_name, b"", replayable=False))
    await asyncio.sleep(0)  # queued for this turn's batch, which leaves in the next
    call.cancel()
    await asyncio.wait([call])
    await connection.ping()
    assert raw.get(queue_name) is None


async def test_scan_finds_the_keys_of_a_pattern(
    server: ValkeyServer, connect: Connect, queue_name: str, raw: valkey.Valkey
) -> None:
    expected = {f"glide:{{{queue_name}}}:{n}".encode() for n in range(1500)}
    raw.mset(dict.fromkeys(expected, b"x"))
    found = [
        key
        async for portion in connect(server).scan(f"glide:{{{queue_name}}}:*", key=f"{{{queue_name}}}")
        for key in portion
    ]
    assert set(found) == expected


@pytest.fixture
def locked_server() -> Iterator[ValkeyServer]:
    running = ValkeyServer().start()
    running.client().acl_setuser(
        "worker", enabled=True, passwords=["+s3cret canary"], categories=["+@all"], keys=["*"]
    )
    running.client().acl_setuser("default", enabled=False)
    yield running
    running.stop()


async def test_user_and_password_are_sent(locked_server: ValkeyServer, connect: Connect) -> None:
    connection = connect(locked_server, username="worker", password="s3cret canary")
    await connection.ping()


@pytest.mark.parametrize("identity", [{"username": "worker", "password": "wrong canary"}, {}])
async def test_a_refused_user_raises_authentication_error_without_the_password(
    locked_server: ValkeyServer, connect: Connect, identity: dict[str, str]
) -> None:
    with pytest.raises(AuthenticationError) as caught:
        await connect(locked_server, **identity).open()
    assert "canary" not in str(caught.value)
    assert str(locked_server.port) in str(caught.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("valkey://127.0.0.1:1", "connection refused"),
        ("valkey+unix:///nonexistent/valkey.sock", "no such file"),
        ("valkey://name.invalid", "cannot be reached"),
    ],
)
async def test_a_server_that_cannot_be_reached_raises_one_line_that_says_why(url: str, reason: str) -> None:
    with pytest.raises(ConnectionError, match=reason) as caught:
        await SharedClient.connect(f"{url}?connection_timeout=200ms")
    assert "\n" not in str(caught.value)


async def test_a_mute_server_is_given_up_after_the_connection_timeout_without_blocking_the_loop() -> None:
    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stop.wait()
        writer.close()

    stop = asyncio.Event()
    mute = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    connecting = asyncio.create_task(
        SharedClient.connect(f"valkey://127.0.0.1:{port}?connection_timeout=500ms")
    )
    turns = 0
    while not connecting.done():
        await asyncio.sleep(0.01)
        turns += 1
    with pytest.raises(ConnectionError, match="did not answer within"):
        await connecting
    assert turns >= 20  # of about 50: the loop went on turning
    stop.set()
    mute.close()


async def test_shared_client_is_open_when_it_is_handed_out(server: ValkeyServer, raw: valkey.Valkey) -> None:
    async with await SharedClient.connect(server.url, client_name="glidemq-shared-test") as client:
        assert "glidemq-shared-test" in {c["name"] for c in raw.client_list()}
        await client.ping()
