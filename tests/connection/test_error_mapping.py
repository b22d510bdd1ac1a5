"""Every error of the server, raised by a real one, gets its type and its verdict."""

from __future__ import annotations

import asyncio
import time

import pytest

from glidemq.connection.error_mapping import Verdict, classify, server_code
from glidemq.errors import (
    AuthenticationError,
    ConnectionError,
    GlideMQError,
    GroupMissingError,
    QueueFullError,
    ServerError,
    UnknownOutcomeError,
)
from tests.connection.conftest import Connect
from tests.testkit.server import ValkeyServer


@pytest.mark.parametrize(
    ("text", "error", "code"),
    [
        ("ERR something is wrong", ServerError, "ERR"),
        ("something without a code", ServerError, "ERR"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", ServerError, "WRONGTYPE"),
        ("NOPERM User worker has no permissions", ServerError, "NOPERM"),
        ("MISCONF Valkey is configured to save RDB snapshots", ServerError, "MISCONF"),
        ("CROSSSLOT Keys in request don't hash to the same slot", ServerError, "CROSSSLOT"),
        ("NOGROUP No such key", GroupMissingError, "NOGROUP"),
        ("OOM command not allowed when used memory > 'maxmemory'.", QueueFullError, None),
        ("NOAUTH Authentication required.", AuthenticationError, None),
    ],
)
async def test_final_errors_are_raised_at_once(
    server: ValkeyServer, connect: Connect, text: str, error: type[GlideMQError], code: str | None
) -> None:
    connection = connect(server)
    started = time.monotonic()
    with pytest.raises(error) as caught:
        await connection.call("gmq_refuse", "a-key", text.encode(), replayable=True)
    assert time.monotonic() - started < connection.options.request_deadline / 2
    assert type(caught.value) is error
    assert "gmq_refuse of a-key" in str(caught.value)
    if code is not None:
        assert isinstance(caught.value, ServerError)
        assert caught.value.code == code


@pytest.mark.parametrize(
    "text",
    [
        "LOADING Valkey is loading the dataset in memory",
        "BUSY Valkey is busy running a script.",
        "READONLY You can't write against a read only replica.",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN The cluster is down",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "NOREPLICAS Not enough good replicas to write.",
    ],
)
@pytest.mark.parametrize("replayable", [True, False])
async def test_passing_refusals_are_repeated_until_the_deadline_whatever_the_call_does(
    server: ValkeyServer, connect: Connect, text: str, replayable: bool
) -> None:
    connection = connect(server, request_timeout=0.3, request_deadline=0.3)
    await connection.open()
    with pytest.raises(ConnectionError) as caught:
        await connection.call("gmq_refuse", "k", text.encode(), replayable=replayable)
    assert not isinstance(caught.value, UnknownOutcomeError)
    assert "nothing was executed" in str(caught.value)
    assert text.split()[0] in str(caught.value)
    assert connection.requests_sent >= 2  # after 0, 20, 60, 140 ms, on a machine that has nothing else to do


async def test_errors_within_a_batch_get_the_same_types_as_alone(
    server: ValkeyServer, connect: Connect
) -> None:
    connection = connect(server)
    await connection.open()
    errors = await asyncio.gather(
        connection.call("gmq_refuse", "k", b"WRONGTYPE x", replayable=True),
        connection.call("gmq_refuse", "k", b"OOM x", replayable=True),
        connection.call("gmq_refuse", "k", b"NOGROUP x", replayable=True),
        return_exceptions=True,
    )
    assert [type(error) for error in errors] == [ServerError, QueueFullError, GroupMissingError]


async def test_a_defect_in_the_library_names_its_place(server: ValkeyServer, connect: Connect) -> None:
    broken = "define('broken', function() local x; return x.y end)"
    connection = connect(server, version=2, extra=broken)
    with pytest.raises(ServerError, match="attempt to index"):
        await connection.call("gmq_broken", "k", b"", replayable=True)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("An error was signalled by the server: - ResponseError: x: y", "ERR", "x: y"),
        ("An error was signalled by the server: - ReadOnly: x", "READONLY", "x"),
        ("An error was signalled by the server: - SomethingNew: x", "SOMETHINGNEW", "x"),
        ("FENCED: lost", "FENCED", "lost"),
        ("timed out", "ERR", "timed out"),
    ],
)
def test_server_code_splits_what_glide_makes_of_an_error(text: str, code: str, message: str) -> None:
    assert server_code(text) == (code, message)


def test_an_exception_that_is_none_of_the_client_s_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        classify(ZeroDivisionError(), action="x", place="y")


def test_requests_that_never_left_may_be_repeated() -> None:
    import glide

    unsent = glide.RequestError("Reached maximum inflight requests")
    assert classify(unsent, action="x", place="y").verdict is Verdict.NOT_EXECUTED
