"""A queue of one's own on the shared server, and what a foreign writer would do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import pytest
import valkey

from glidemq import Queue
from tests.testkit.server import ValkeyServer

AnyQueue: TypeAlias = Queue[Any, Any]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    """An open queue that no other test uses."""
    async with AnyQueue(queue_name, connection=server.url) as queue:
        yield queue


@pytest.fixture
async def unreachable() -> AsyncIterator[AnyQueue]:
    """A queue whose first attempt to talk to its server would fail with another error than those tested."""
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as queue:
        yield queue


def hash_of(raw: valkey.Valkey, queue: AnyQueue, job_id: str) -> dict[str, str]:
    """A job's hash as it stands on the server."""
    fields: Any = raw.hgetall(queue.keys.job(job_id))
    return {name.decode(): value.decode() for name, value in fields.items()}
