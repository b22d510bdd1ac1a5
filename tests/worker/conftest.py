"""A queue and workers on the shared server, closed when the test ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from glidemq import Queue, Worker
from tests.testkit.server import ValkeyServer


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    async with Queue[Any, Any](queue_name, connection=server.url) as made:
        yield made


@pytest.fixture
async def start_worker(server: ValkeyServer, queue_name: str) -> AsyncIterator[Callable[..., Any]]:
    """Call with a processor and options: a started worker of the test's queue."""
    started: list[Worker[Any, Any]] = []

    async def start(processor: Callable[[Any], Any], **options: Any) -> Worker[Any, Any]:
        worker = Worker[Any, Any](queue_name, processor, connection=server.url, **options)
        started.append(worker)
        await worker.start()
        return worker

    yield start
    for worker in started:
        await worker.close(force=True)
