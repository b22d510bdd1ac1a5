"""Makes due jobs run: polls idle queues for what no blocking read can see, and promotes for those who are free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from glidemq.actors.actor import PeriodicActor, for_each_queue
from glidemq.clock import monotonic_ns
from glidemq.commands.get_counts import GetCountsCommand
from glidemq.commands.promote_due import PromoteDueCommand
from glidemq.connection.connection import Connection
from glidemq.pipeline.link import WorkLink
from glidemq.pipeline.queue_pump import QueuePump

JOBS_PER_CALL = 1000


class Promoter(PeriodicActor):
    """Looks at each queue once per `promotion_interval` unless its pump just did.

    Jobs of foreign producers in lists or in the scheduled set wake no blocking read; this bounds their wait. A cell
    without a free slot still promotes delayed jobs, for the hosts that have one; prioritized jobs never, since
    promotion fixes their order (ruling 18). It needs no leader: promotion is atomic.
    """

    name = "promoter"

    def __init__(
        self,
        *,
        connection: Connection,
        pumps: Callable[[], Iterable[QueuePump]],
        link: WorkLink,
        promotion_interval_s: float,
    ) -> None:
        super().__init__(promotion_interval_s)
        self._connection = connection
        self._pumps = pumps
        self._link = link

    async def tick(self) -> None:
        """One pass over every queue."""
        recent_ns = monotonic_ns() - int(self.interval_s * 0.9e9)
        idle = [pump for pump in self._pumps() if pump.last_step_ns <= recent_ns]
        await for_each_queue(idle, self._look)

    async def _look(self, pump: QueuePump) -> None:
        if self._link.wants(pump)[0] > 0 or await self._has_work(pump):
            pump.poll()

    async def _has_work(self, pump: QueuePump) -> bool:
        """Promote for other hosts, and look whether there is something to wait for a slot for: no reader does."""
        promote = PromoteDueCommand(
            pump.keys.meta, limit=JOBS_PER_CALL, prioritized_limit=0, events=pump.settings.events
        )
        _, counts = await asyncio.gather(
            self._connection.execute(promote), self._connection.execute(GetCountsCommand(pump.keys.meta))
        )
        return counts["waiting"] + counts["prioritized"] > 0
