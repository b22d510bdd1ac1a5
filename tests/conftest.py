"""Fixtures that every test may use: one real server per test process, and a queue name of one's own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
import valkey

from tests.testkit.server import ValkeyServer

_names = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[ValkeyServer]:
    """A server shared by the tests of this process: use names of your own, never FLUSHALL, never kill it."""
    running = ValkeyServer().start()
    yield running
    running.stop()


@pytest.fixture
def own_server() -> Iterator[ValkeyServer]:
    """A server for one test, with AOF: do to it what you like."""
    running = ValkeyServer(append_only=True).start()
    yield running
    running.stop()


@pytest.fixture
def raw(server: ValkeyServer) -> Iterator[valkey.Valkey]:
    """A plain client of the shared server."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def queue_name() -> str:
    """A queue name that no other test uses."""
    return f"q{os.getpid()}-{next(_names)}"
