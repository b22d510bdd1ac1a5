"""Waiting until a worker has worked off its queue."""

from __future__ import annotations

import asyncio
from typing import Final

from glidemq.commands.get_counts import GetCountsCommand
from glidemq.connection import Connection
from glidemq.pipeline.in_flight import InFlight

LOOK_EVERY_S: Final = 0.1


async def until_empty(
    connection: Connection, queue_key: str, in_flight: InFlight, told_to_close: asyncio.Event
) -> None:
    """Return once nothing runs here, waits or is delayed in the queue; or once the worker is told to close."""
    while not told_to_close.is_set():
        if not in_flight:  # asked first: what fails here is delayed by the time that the others are counted
            counts = await connection.execute(GetCountsCommand(queue_key))
            if not counts["waiting"] and not counts["delayed"] and not in_flight:
                return
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await told_to_close.wait()
        except TimeoutError:
            pass
