"""Commands executed against the real library, the way a connection would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import valkey

from glidemq.commands.command import Command, unpack
from glidemq.commands.keys import QueueKeys
from glidemq_lua import library_source
from tests.testkit.server import ValkeyServer

Execute = Callable[[Command[Any]], Any]


@pytest.fixture(scope="session")
def library(server: ValkeyServer) -> None:
    """Loads the bundle into the shared server once per test process."""
    client = server.client()
    client.function_load(library_source(), replace=True)
    client.close()


@pytest.fixture
def execute(library: None, raw: valkey.Valkey) -> Execute:
    """Sends one command and returns its parsed reply."""

    def run(command: Command[Any]) -> Any:
        reply: bytes = raw.fcall(command.function, 1, command.queue_key, command.arguments())
        return command.parse_reply(unpack(reply))

    return run


@pytest.fixture
def keys(queue_name: str) -> QueueKeys:
    """The key names of the test's own queue."""
    return QueueKeys("glide", queue_name)
