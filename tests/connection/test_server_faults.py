"""What calls do when the server is killed, stopped, full, read-only, or comes back empty."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from glidemq.connection import CommandConnection
from glidemq.errors import ConnectionError, QueueFullError, UnknownOutcomeError
from tests.connection.conftest import Connect
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


async def kill_and_restart(server: ValkeyServer) -> None:
    server.kill()
    await asyncio.to_thread(server.start)


async def answers(connection: CommandConnection) -> bool:
    try:
        await connection.ping()
    except ConnectionError:
        return False
    return True


async def test_replayable_calls_survive_a_kill_and_restart(
    own_server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(own_server)
    replies: list[bytes] = []
    stop = asyncio.Event()

    async def keep_calling(caller: int) -> None:
        count = 0
        while not stop.is_set():
            argument = b"%d:%d" % (caller, count)
            assert await connection.call("gmq_echo", "k", argument, replayable=True) == argument
            replies.append(argument)
            count += 1

    callers = [asyncio.create_task(keep_calling(n)) for n in range(8)]
    for _ in range(3):
        reached = len(replies) + 100
        async with asyncio.timeout(20):
            while len(replies) < reached:
                await asyncio.sleep(0.005)
        await kill_and_restart(own_server)
    reached = len(replies) + 100
    async with asyncio.timeout(20):
        while len(replies) < reached:
            await asyncio.sleep(0.005)
    stop.set()
    await asyncio.gather(*callers)


async def test_acknowledged_calls_survive_kills_and_unknown_ones_ran_at_most_once(
    own_server: ValkeyServer, connect: Connect
) -> None:
    with own_server.client() as client:
        client.config_set("appendfsync", "always")
    connection = connect(own_server, request_timeout=0.5)
    acknowledged = unknown = 0
    stop = asyncio.Event()

    async def keep_calling() -> None:
        nonlocal acknowledged, unknown
        while not stop.is_set():
            try:
                await connection.call("gmq_increment", "counter", b"", replayable=False)
                acknowledged += 1
            except UnknownOutcomeError:
                unknown += 1

    callers = [asyncio.create_task(keep_calling()) for _ in range(8)]
    for reached in (200, 400, 600):
        async with asyncio.timeout(20):
            while acknowledged < reached:
                await asyncio.sleep(0.005)
        await kill_and_restart(own_server)
    stop.set()
    await asyncio.gather(*callers)
    with own_server.client() as client:
        executed = int(client.get("counter") or 0)
    assert acknowledged <= executed <= acknowledged + unknown


async def test_a_call_in_flight_at_a_kill_has_an_unknown_outcome_at_once(
    own_server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(own_server)
    await connection.call("gmq_echo", "k", b"x", replayable=True)
    own_server.signal(signal.SIGSTOP)  # takes the call into its socket buffer, and answers nothing
    call = asyncio.create_task(connection.call("gmq_increment", "n", b"", replayable=False))
    await asyncio.wait([call], timeout=0.2)
    started = time.monotonic()
    own_server.kill()
    with pytest.raises(UnknownOutcomeError, match=r"the connection to .* broke"):
        await call
    assert time.monotonic() - started < connection.options.request_timeout / 2


async def test_calls_go_on_soon_after_the_server_s_return(own_server: ValkeyServer, connect: Connect) -> None:
    connection = connect(own_server)
    await connection.call("gmq_echo", "k", b"x", replayable=True)
    own_server.kill()
    call = asyncio.create_task(connection.call("gmq_echo", "k", b"y", replayable=True))
    done, _ = await asyncio.wait([call], timeout=0.7)  # the client's back-off has reached its longest
    assert not done
    await asyncio.to_thread(own_server.start)
    back_at = time.monotonic()
    assert await call == b"y"
    # At most 0.77 s between two attempts of the client, 0.96 s between two of ours.
    assert time.monotonic() - back_at < 3.0


async def test_a_server_that_comes_back_empty_gets_the_library_again(connect: Connect) -> None:
    server = ValkeyServer(append_only=False).start()
    try:
        connection = connect(server)
        assert await connection.call("gmq_increment", "n", b"", replayable=True) == b"1"
        await kill_and_restart(server)
        # Unknown at first, because the old connection breaks, then "Function not found".
        assert await connection.call("gmq_increment", "n", b"", replayable=True) == b"1"
        await connection.close()
    finally:
        server.stop()


async def test_a_stopped_server_leaves_the_outcome_of_a_call_unknown_and_it_may_run_later(
    own_server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(own_server, request_timeout=0.3)
    await connection.call("gmq_echo", "k", b"x", replayable=True)
    own_server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(UnknownOutcomeError, match="executed 0 or 1 times, perhaps later"):
            await connection.call("gmq_increment", "n", b"", replayable=False)
    finally:
        own_server.signal(signal.SIGCONT)
    with own_server.client() as client:
        async with asyncio.timeout(5):
            while client.get("n") is None:
                await asyncio.sleep(0.01)
        assert client.get("n") == b"1"


async def test_a_replayable_call_outlasts_a_stopped_server(
    own_server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(own_server, request_timeout=0.2)
    await connection.call("gmq_echo", "k", b"x", replayable=True)
    own_server.signal(signal.SIGSTOP)
    call = asyncio.create_task(connection.call("gmq_echo", "k", b"y", replayable=True))
    done, _ = await asyncio.wait([call], timeout=0.6)
    own_server.signal(signal.SIGCONT)
    assert not done
    assert await call == b"y"


async def test_a_replayable_call_gives_up_at_the_deadline_and_says_what_it_knows(
    own_server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(own_server, request_timeout=0.2, request_deadline=0.6)
    await connection.call("gmq_echo", "k", b"x", replayable=True)
    own_server.signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(UnknownOutcomeError):
            await connection.call("gmq_echo", "k", b"y", replayable=True)
        assert 0.3 < time.monotonic() - started < 3.0
    finally:
        own_server.signal(signal.SIGCONT)


async def test_calls_that_wait_behind_a_stopped_server_fail_in_time_as_not_executed(
    own_server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(own_server, request_timeout=0.3, request_deadline=0.3)
    await connection.call("gmq_echo", "k", b"x", replayable=True)
    own_server.signal(signal.SIGSTOP)
    try:
        # 12 batches of a mebibyte: 8 are sent, the others cannot be.
        payload = b"x" * 700_000
        results = await asyncio.gather(
            *(connection.call("gmq_store", f"k{n}", payload, replayable=False) for n in range(12)),
            return_exceptions=True,
        )
    finally:
        own_server.signal(signal.SIGCONT)
    unsent = [n for n, error in enumerate(results) if type(error) is ConnectionError]
    unknown = [n for n, error in enumerate(results) if isinstance(error, UnknownOutcomeError)]
    assert unsent == [8, 9, 10, 11]
    assert unknown == [0, 1, 2, 3, 4, 5, 6, 7]
    await eventually(lambda: answers(connection), "the server has read what was sent before")
    with own_server.client() as client:
        assert client.exists(*(f"k{n}" for n in unsent)) == 0


async def test_a_full_server_refuses_writes_with_queue_full_and_lets_others_through(
    own_server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(own_server)
    await connection.call("gmq_echo", "k", b"x", replayable=True)
    with own_server.client() as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(QueueFullError, match="out of memory") as caught:
            await connection.call("gmq_store", "k", b"x", replayable=True)
        assert "nothing was written" in str(caught.value)
        assert await connection.call("gmq_increment", "drained", b"", replayable=False) == b"1"  # allow-oom
        client.config_set("maxmemory", "0")
    assert await connection.call("gmq_store", "k", b"x", replayable=True) == b"ok"


async def test_calls_wait_while_a_fail_over_makes_the_server_read_only(
    own_server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(own_server)
    await connection.call("gmq_store", "k", b"1", replayable=False)
    with own_server.client() as client:
        client.replicaof("127.0.0.1", "1")
        client.config_set("replica-serve-stale-data", "yes")
        call = asyncio.create_task(connection.call("gmq_store", "k", b"2", replayable=False))
        done, _ = await asyncio.wait([call], timeout=0.2)
        assert not done
        client.replicaof("NO", "ONE")
        assert await call == b"ok"
        assert client.get("k") == b"2"


async def test_a_call_refused_for_good_after_one_without_reply_stays_unknown(
    own_server: ValkeyServer, connect: Connect
) -> None:
    # Executed once, with a reply that comes too late; refused when it is repeated.
    late_then_full = """define('late_then_full', function(keys, args)
      if redis.call('INCR', keys[1]) > 1 then return redis.error_reply('OOM full') end
      for _ = 1, 100000000 do end
      return 'ok'
    end)"""
    connection = connect(own_server, extra=late_then_full, request_timeout=0.2)
    await connection.call("gmq_echo", "k", b"x", replayable=True)
    with pytest.raises(UnknownOutcomeError, match=r"repeating it was refused: .*out of memory"):
        await connection.call("gmq_late_then_full", "k", b"", replayable=True)


async def test_close_during_an_outage_ends_with_the_deadline_of_the_calls(
    own_server: ValkeyServer, connect: Connect
) -> None:
    connection: CommandConnection = connect(own_server, request_timeout=0.2, request_deadline=0.5)
    await connection.call("gmq_echo", "k", b"x", replayable=True)
    own_server.kill()
    call = asyncio.create_task(connection.call("gmq_echo", "k", b"y", replayable=True))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await connection.close()
    assert isinstance(call.exception(), ConnectionError)
