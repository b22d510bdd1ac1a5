"""Fixtures that every test may use: one real server per test process, and a queue name of one's own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey

from tests.testkit.cluster import Cluster
from tests.testkit.search_module import server_with_search
from tests.testkit.server import ValkeyServer
from tests.testkit.shared_cluster import shared_cluster

_names = itertools.count(1)

# Tests with real processes and real deadlines: on a host whose cores are taken away for seconds one may miss its
# bound. It is run up to twice more, and pytest lists it as rerun; a third failure counts.
REAL_TIME = (
    "actors",
    "cluster",
    "connection",
    "examples",
    "faults",
    "lifecycle",
    "pipeline",
    "process",
    "promises",
    "worker",
)


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in REAL_TIME:
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="session")
def server() -> Iterator[ValkeyServer]:
    """A server shared by the tests of this process: use names of your own, never FLUSHALL, never kill it."""
    running = ValkeyServer().start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def search_server() -> Iterator[ValkeyServer]:
    """As `server`, with a search module."""
    with server_with_search() as running:
        yield running


@pytest.fixture
def own_server() -> Iterator[ValkeyServer]:
    """A server for one test, with AOF: do to it what you like."""
    running = ValkeyServer(append_only=True).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of three primaries and three replicas, shared by all processes of this run of pytest.

    Use names of your own; never flush, kill or move anything.
    """
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    with shared_cluster(directory) as running:
        yield running


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
