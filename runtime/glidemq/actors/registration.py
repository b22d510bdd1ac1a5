"""Keeps this cell in each queue's list of workers, where dashboards and other hosts look."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable

import orjson

from glidemq.actors.actor import PeriodicActor, for_each_queue
from glidemq.clock import wall_ms
from glidemq.commands.leave import LeaveCommand
from glidemq.commands.register_worker import RegisterWorkerCommand
from glidemq.connection.connection import Connection
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.queue_pump import QueuePump


class Registration(PeriodicActor):
    """Writes the registry entry that Node tools read, with a TTL of `stalled_interval`, refreshed at half of it."""

    name = "registration"

    def __init__(
        self,
        *,
        connection: Connection,
        pumps: Callable[[], Iterable[QueuePump]],
        in_flight: InFlight,
        consumer: str,
        stalled_interval_s: float,
    ) -> None:
        super().__init__(max(stalled_interval_s / 2, 1.0))
        self._connection = connection
        self._pumps = pumps
        self._in_flight = in_flight
        self._consumer = consumer
        self._ttl_ms = int(stalled_interval_s * 1000)
        self._identity = {"addr": socket.gethostname(), "pid": os.getpid(), "startedAt": wall_ms()}

    async def tick(self) -> None:
        """Write every entry; creates the queues' consumer groups where they are missing."""
        await for_each_queue(list(self._pumps()), self._register)

    async def _register(self, pump: QueuePump) -> None:
        info = {**self._identity, "activeJobs": len(self._in_flight.of(pump))}
        await self._connection.execute(
            RegisterWorkerCommand(
                pump.keys.meta,
                consumer=self._consumer,
                info_json=orjson.dumps(info),
                ttl_ms=self._ttl_ms,
                dead_letters=pump.settings.dead_letters,
            )
        )

    async def leave(self) -> None:
        """Take this cell out of every registry; what it had given back becomes visible to foreign workers."""
        await for_each_queue(list(self._pumps()), self._leave)

    async def _leave(self, pump: QueuePump) -> None:
        leave = LeaveCommand(pump.keys.meta, consumer=self._consumer, cell=self._consumer)
        while (await self._connection.execute(leave)).more:
            pass
