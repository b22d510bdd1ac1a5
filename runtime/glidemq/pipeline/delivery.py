"""Repeats an idempotent call until the server has answered it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from glidemq.errors import ConnectionError
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
        self._delay_s = RETRY_FIRST_S

    async def until_answered(self, call: Callable[[], Awaitable[R]]) -> R:
        """Make the call, and again after every failure to get an answer. Only for calls that may be executed twice.

        Whatever fails, a defect of ours included, the outcomes that the call carries are not given up.
        """
        while True:
            try:
                await self._context.restore_leases()
                reply = await call()
            except Exception as error:
                await self.trouble(error)
            else:
                self.answered()
                return reply

    async def trouble(self, error: Exception) -> None:
        """Note that an answer was lost, and wait: longer each time, until the server answers again."""
        self.unsure = True
        self._context.observer.troubled(self._queue, error)
        # An error that the server answers with is about this queue; the others' leases are in no danger.
        if isinstance(error, ConnectionError):
            self._context.connection_lost()
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, RETRY_LAST_S)
        await asyncio.sleep(delay_s)

    def answered(self) -> None:
        """The server has answered a call of this queue."""
        self._delay_s = RETRY_FIRST_S
