"""Connections to an embedded:// URL: started by need, shared, healed, stopped with the last of them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection, ReaderConnection
from glidemq.errors import ConnectionError
from tests.connection.function_library import library
from tests.embedded.holder_process import alive, pids, processes_of, stopped, wait_until


def options(directory: Path) -> ConnectionOptions:
    return ConnectionOptions.from_url(f"embedded://{directory}")


async def test_a_connection_starts_the_server_and_the_last_one_to_close_stops_it(directory: Path) -> None:
    first = CommandConnection(options(directory), library=library())
    second = ReaderConnection(options(directory))
    assert not directory.exists()  # nothing happens before the first use
    assert await first.call("gmq_echo", "k", b"x", replayable=True) == b"x"
    await second.open()
    assert len(processes_of(directory)) == 2
    await first.close()
    assert len(processes_of(directory)) == 2
    await second.close()
    await asyncio.to_thread(wait_until, lambda: stopped(directory))


@pytest.mark.parametrize("victim", ["keeper", "server"])
async def test_a_call_during_the_death_of_the_server_brings_it_back(directory: Path, victim: str) -> None:
    async with CommandConnection(options(directory), library=library()) as connection:
        await connection.call("gmq_echo", "k", b"x", replayable=True)
        before = pids(directory)
        os.kill(before[victim], signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: not any(alive(pid) for pid in before.values()))
        assert await connection.call("gmq_echo", "k", b"y", replayable=True) == b"y"
        assert not set(pids(directory).values()) & set(before.values())


async def test_a_server_that_does_not_start_fails_the_first_use_with_its_reason(directory: Path) -> None:
    (directory / "appendonlydir").mkdir(parents=True, mode=0o700)
    directory.chmod(0o700)
    (directory / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    connection = CommandConnection(options(directory))
    with pytest.raises(ConnectionError, match="does not start"):
        await connection.ping()
    await connection.close()
