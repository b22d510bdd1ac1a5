"""Carries the dead letters of the cell's queues to where they are collected."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from glidemq.actors.actor import Actor
from glidemq.client.dead_letter_carrier import DeadLetterCarrier
from glidemq.clock import monotonic_ns
from glidemq.commands.keys import QueueKeys
from glidemq.connection.connection import Connection
from glidemq.errors import GlideMQError

log = logging.getLogger("glidemq.actors")

IDLE_S = 1.0
TROUBLE_S = 2.0


class DeadLetters(Actor):
    """Looks at each queue's outbox twice a second, or every five seconds where no dead letter queue is configured.

    It needs no leader, and whatever host is left carries what a dead one has left behind.
    Owns: a carrier for each queue, and when to look at which.
    """

    name = "dead-letters"

    def __init__(self, *, connection: Connection, queues: Callable[[], Iterable[QueueKeys]]) -> None:
        super().__init__()
        self._connection = connection
        self._queues = queues
        self._carriers: dict[QueueKeys, DeadLetterCarrier] = {}
        self._next_look_ns: dict[QueueKeys, int] = {}
        self._troubled: set[QueueKeys] = set()

    async def run(self) -> None:
        """Look at the queues that are due, sleep until the next."""
        while True:
            now_ns = monotonic_ns()
            looks = {queue: self._next_look_ns.get(queue, 0) for queue in self._queues()}
            self._next_look_ns = looks
            await asyncio.gather(*(self._look(queue) for queue, at_ns in looks.items() if at_ns <= now_ns))
            next_ns = min(looks.values(), default=now_ns + int(IDLE_S * 1e9))
            await asyncio.sleep(max(next_ns - monotonic_ns(), 0) / 1e9)

    async def carry_last(self) -> None:
        """Carry what the last outcomes have left, after the loop was stopped. Raises GlideMQError."""
        for carrier in self._carriers.values():
            await carrier.carry()

    async def _look(self, queue: QueueKeys) -> None:
        carrier = self._carriers.get(queue)
        if carrier is None:
            carrier = self._carriers[queue] = DeadLetterCarrier(self._connection, queue)
        try:
            wait_s = await carrier.carry()
            self._troubled.discard(queue)
        except GlideMQError as error:
            wait_s = TROUBLE_S
            level = logging.DEBUG if queue in self._troubled else logging.WARNING
            self._troubled.add(queue)
            log.log(level, "dead letters of queue %r wait: %s", queue.queue, error)
        self._next_look_ns[queue] = monotonic_ns() + int(wait_s * 1e9)
