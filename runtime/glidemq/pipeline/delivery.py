"""Repeats an idempotent call until the server has answered it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from glidemq.errors import ConnectionError, ServerError
from glidemq.pipeline.pump_context import PumpContext

R = TypeVar("R")

RETRY_FIRST_S = 0.05
RETRY_LAST_S = 1.0


class Delivery:
    """One queue's patience with the server.

    Owns: whether the server's books may differ from ours (`unsure`). Read by: the queue pump.
    """

    def __init__(self, queue: str, context: PumpContext) -> None:
        self._queue = queue
        self._context = context
        # The server may have granted leases that we never heard of: true at the start, and after any lost reply.
        self.unsure = True

    async def until_answered(self, call: Callable[[], Awaitable[R]]) -> R:
        """Make the call, and again after every failure to get an answer. Only for calls that may be executed twice."""
        delay_s = RETRY_FIRST_S
        while True:
            try:
                await self._context.restore_leases()
                return await call()
            except (ConnectionError, ServerError) as error:
                await self.trouble(error, delay_s)
                delay_s = min(2 * delay_s, RETRY_LAST_S)

    async def trouble(self, error: Exception, delay_s: float = RETRY_FIRST_S) -> None:
        """Note that an answer was lost, and wait a little."""
        self.unsure = True
        self._context.observer.troubled(self._queue, error)
        self._context.connection_lost()
        await asyncio.sleep(delay_s)
