"""Connections to real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection, ReaderConnection
from tests.connection.function_library import library
from tests.testkit.server import ValkeyServer

Connect = Callable[..., CommandConnection]
Read = Callable[..., ReaderConnection]


@pytest.fixture(scope="session")
def server() -> Iterator[ValkeyServer]:
    """A server for this folder: its tests load function libraries of their own, under the real one's name."""
    running = ValkeyServer().start()
    yield running
    running.stop()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make connections that are closed after the test: `connect(server, version=…, **connection options)`."""
    made: list[CommandConnection] = []

    def make(server: ValkeyServer, *, version: int = 1, extra: str = "", **options: Any) -> CommandConnection:
        made.append(
            CommandConnection(
                ConnectionOptions.from_url(server.url, **options), library=library(version, extra=extra)
            )
        )
        return made[-1]

    yield make
    for connection in made:
        await connection.close()


@pytest.fixture
async def read() -> AsyncIterator[Read]:
    """Make readers that are closed after the test: `read(server, **connection options)`."""
    made: list[ReaderConnection] = []

    def make(server: ValkeyServer, **options: Any) -> ReaderConnection:
        made.append(ReaderConnection(ConnectionOptions.from_url(server.url, **options)))
        return made[-1]

    yield make
    for reader in made:
        await reader.close()
