"""The password is in no error, log record, representation, traceback or child process."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator

import pytest

from glidemq.config import ConnectionOptions, resolve_connection
from glidemq.connection import CommandConnection, ReaderConnection, SharedClient
from glidemq.errors import GlideMQError
from tests.connection.function_library import library
from tests.testkit.server import ValkeyServer

CANARY = "canary-c0ffee"


@pytest.fixture
def guarded_server() -> Iterator[ValkeyServer]:
    running = ValkeyServer().start()
    running.client().acl_setuser(
        "worker",
        enabled=True,
        passwords=[f"+{CANARY}"],
        categories=["+@all"],
        commands=["-function"],
        keys=["*"],
    )
    yield running
    running.stop()


async def test_no_failure_of_a_connection_tells_the_password(
    guarded_server: ValkeyServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    port = guarded_server.port
    right = f"valkey://worker:{CANARY}@127.0.0.1:{port}?request_timeout=200ms&request_deadline=200ms"
    urls = [
        f"valkey://worker:{CANARY}-wrong@127.0.0.1:{port}",
        f"valkey://nobody:{CANARY}@127.0.0.1:{port}",
        f"valkey://worker:{CANARY}@127.0.0.1:1?connection_timeout=100ms",
        f"valkeys://worker:{CANARY}@127.0.0.1:{port}?connection_timeout=200ms",
        f"valkey+cluster://worker:{CANARY}@127.0.0.1:1?connection_timeout=100ms",
        f"valkey+unix://worker:{CANARY}@/nonexistent.sock?connection_timeout=100ms",
    ]
    told: list[str] = []
    with caplog.at_level(logging.DEBUG):
        for url in urls:
            with pytest.raises(GlideMQError) as caught:
                await SharedClient.connect(url)
            told.extend(traceback.format_exception(caught.value))

        options = resolve_connection(right)
        connection = CommandConnection(options, library=library())
        with pytest.raises(GlideMQError) as caught:  # the library is missing and may not be loaded
            await connection.call("gmq_echo", "k", b"", replayable=True)
        told.extend(traceback.format_exception(caught.value))
        reader = ReaderConnection(options)
        with pytest.raises(GlideMQError) as caught:
            await reader.read_group("c", ["missing"], block_ms=10)
        told.extend(traceback.format_exception(caught.value))
        guarded_server.kill()
        with pytest.raises(GlideMQError) as caught:
            await connection.call("gmq_echo", "k", b"", replayable=True)
        told.extend(traceback.format_exception(caught.value))
        await connection.close()
        await reader.close()
        told.extend([repr(connection), repr(reader), repr(options), str(options), repr(vars(connection))])
    out, err = capfd.readouterr()
    everything = "\n".join([*told, caplog.text, out, err])
    assert len(told) > 20
    assert CANARY not in everything


def test_a_debug_log_of_asyncio_does_not_tell_either(
    guarded_server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def use() -> None:
        options = ConnectionOptions.from_url(f"valkey://worker:{CANARY}@127.0.0.1:{guarded_server.port}")
        async with CommandConnection(options) as connection:
            await connection.ping()

    with caplog.at_level(logging.DEBUG):
        asyncio.run(use(), debug=True)
    assert CANARY not in caplog.text


def test_the_embedded_server_s_processes_do_not_see_our_environment(tmp_path: os.PathLike[str]) -> None:
    look = """
import sys, pathlib
from glidemq.embedded import EmbeddedServer
server = EmbeddedServer.acquire(sys.argv[1])
server.wait_ready()
for line in (server.directory / "pids").read_text().splitlines():
    pid = line.split()[1]
    for name in ("environ", "cmdline"):
        sys.stdout.buffer.write(pathlib.Path(f"/proc/{pid}/{name}").read_bytes())
"""
    environment = {**os.environ, "GLIDEMQ_URL": f"valkey://u:{CANARY}@h", "AWS_SECRET_ACCESS_KEY": CANARY}
    seen = subprocess.run(
        [sys.executable, "-c", look, str(tmp_path)], env=environment, capture_output=True, check=True
    ).stdout
    assert b"valkey-server" in seen
    assert CANARY.encode() not in seen
