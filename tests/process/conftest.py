"""Cells by hand, over the shared server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from glidemq import Queue
from tests.process.hand_driven import HandDrivenCell
from tests.testkit.server import ValkeyServer

MakeCell = Callable[..., HandDrivenCell]


@pytest.fixture
async def make_cell(server: ValkeyServer, queue_name: str) -> AsyncIterator[MakeCell]:
    """Call with settings of `RuntimeConfig`, `slots`, and what the test's queue declares: a cell that serves it."""
    made: list[HandDrivenCell] = []

    def make(*, slots: int = 2, url: str = server.url, queues: Any = None, **settings: Any) -> HandDrivenCell:
        declared = queues or [{"name": queue_name, "role": "sync", "concurrency": 1}]
        made.append(HandDrivenCell(url, declared, slots=slots, **settings))
        return made[-1]

    yield make
    for cell in made:
        await cell.close()


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    """The test's queue, for producing and looking."""
    async with Queue[Any, Any](queue_name, connection=server.url) as made:
        yield made
