"""The server library on the real server, and a way to call one function as a client would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import valkey

from glidemq.commands.command import pack, unpack
from glidemq_lua import library_source
from tests.lua.driven_queue import DrivenQueue
from tests.lua.grouped_queue import GroupedQueue
from tests.lua.raw_queue import RawQueue
from tests.lua.schedules import Schedules
from tests.testkit.server import ValkeyServer

PREFIX = "glide"

Call = Callable[..., list[Any]]


@pytest.fixture(scope="session")
def library(server: ValkeyServer) -> None:
    """Loads the bundle into the shared server once per test process."""
    client = server.client()
    client.function_load(library_source(), replace=True)
    client.close()


@pytest.fixture
def call(library: None, raw: valkey.Valkey) -> Call:
    """`call("step", queue, consumer=…, now=…)`: packs the arguments, runs `gmq_step`, unpacks the reply."""

    def run(function: str, queue: str, **arguments: Any) -> list[Any]:
        packed = pack({"v": 1, **arguments})
        reply: bytes = raw.fcall(f"gmq_{function}", 1, f"{PREFIX}:{{{queue}}}:meta", packed)
        unpacked: list[Any] = unpack(reply)
        return unpacked

    return run


@pytest.fixture
def queue(raw: valkey.Valkey, queue_name: str) -> RawQueue:
    """The test's own queue, to be written and read with plain commands."""
    return RawQueue(raw, queue_name)


@pytest.fixture
def driven(raw: valkey.Valkey, queue_name: str, call: Call) -> DrivenQueue:
    """The test's own queue, driven through the library at a time that the test sets."""
    return DrivenQueue(raw, queue_name, call)


@pytest.fixture
def grouped(raw: valkey.Valkey, queue_name: str, call: Call) -> GroupedQueue:
    """As `driven`, for jobs with ordering keys."""
    return GroupedQueue(raw, queue_name, call)


@pytest.fixture
def dead(driven: DrivenQueue, call: Call) -> DrivenQueue:
    """The dead letter queue of `driven`."""
    return DrivenQueue(driven.client, f"{driven.name}-dead", call)


@pytest.fixture
def schedules(driven: DrivenQueue) -> Schedules:
    """The schedulers of `driven`."""
    return Schedules(driven)


@pytest.fixture
def own_library(own_server: ValkeyServer) -> Iterator[DrivenQueue]:
    """A driven queue on a server of its own."""
    yield from _driven_on(own_server, "own")


@pytest.fixture
def searchable(search_server: ValkeyServer, queue_name: str) -> Iterator[DrivenQueue]:
    """A driven queue on a server with a search module."""
    yield from _driven_on(search_server, queue_name)


def _driven_on(server: ValkeyServer, name: str) -> Iterator[DrivenQueue]:
    client = server.client()
    client.function_load(library_source(), replace=True)

    def run(function: str, queue: str, **arguments: Any) -> list[Any]:
        reply: bytes = client.fcall(
            f"gmq_{function}", 1, f"{PREFIX}:{{{queue}}}:meta", pack({"v": 1, **arguments})
        )
        unpacked: list[Any] = unpack(reply)
        return unpacked

    yield DrivenQueue(client, name, run)
    client.close()
