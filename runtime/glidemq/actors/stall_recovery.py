"""Recovers jobs whose holder stopped extending their lease: another host died, or froze."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from glidemq.actors.actor import PeriodicActor
from glidemq.actors.observer import CellObserver
from glidemq.clock import monotonic_ns
from glidemq.commands.recover_stalled import RecoverStalledCommand
from glidemq.connection.connection import Connection
from glidemq.pipeline.lease import MAX_BEAT_INTERVAL_MS
from glidemq.pipeline.queue_pump import QueuePump

JOBS_PER_CALL = 100
SHORTEST_INTERVAL_S = 0.5
SHORTEST_GRACE_MS = 2_000  # hosts find a server that is back within this time of each other


class StallRecovery(PeriodicActor):
    """Looks through each queue's active jobs at half of the shortest live lock, every `stalled_interval` at the latest.

    After an outage every lease looks old by its length, so nothing is judged until all hosts had the time for a
    heartbeat; likewise after this host itself was stopped, when its own leases look old.
    """

    name = "stall-recovery"

    def __init__(
        self,
        *,
        connection: Connection,
        pumps: Callable[[], Iterable[QueuePump]],
        consumer: str,
        stalled_interval_s: float,
        max_stalled_count: int,
        observer: CellObserver,
        was_away: Callable[[], bool] = lambda: False,
    ) -> None:
        """was_away: whether this process has just been stopped, and its heartbeat has not come round since."""
        super().__init__(stalled_interval_s)
        self._connection = connection
        self._pumps = pumps
        self._consumer = consumer
        self._stalled_interval_s = stalled_interval_s
        self._max_stalled_count = max_stalled_count
        self._observer = observer
        self._was_away = was_away
        self._not_before_ns = 0

    def grant_grace(self) -> None:
        """Judge nobody for two heartbeats: the server was away, or we were."""
        longest_ms = max((pump.settings.lock_ms for pump in self._pumps()), default=0)
        grace_ms = max(SHORTEST_GRACE_MS, 2 * min(longest_ms // 2, MAX_BEAT_INTERVAL_MS))
        self._not_before_ns = monotonic_ns() + grace_ms * 1_000_000

    async def run(self) -> None:
        """As a periodic actor, but the first look comes after one interval: the start is the orphans' time."""
        await asyncio.sleep(min(self.interval_s, 1.0))
        await super().run()

    async def tick(self) -> None:
        """One pass over every queue."""
        if self._was_away():
            self.grant_grace()
        if monotonic_ns() < self._not_before_ns:
            return
        shortest_ms = int(self._stalled_interval_s * 1000)
        for pump in list(self._pumps()):
            lock_ms = await self._recover(pump)
            pump.recheck_orphans()
            if lock_ms > 0:
                shortest_ms = min(shortest_ms, lock_ms // 2)
        self.interval_s = max(shortest_ms / 1000, SHORTEST_INTERVAL_S)

    async def _recover(self, pump: QueuePump) -> int:
        cursor = ""
        shortest_live_lock_ms = -1
        found_work = False
        while True:
            result = await self._connection.execute(
                RecoverStalledCommand(
                    pump.keys.meta,
                    consumer=self._consumer,
                    cell=self._consumer,
                    stalled_ms=int(self._stalled_interval_s * 1000),
                    lock_ms=pump.settings.lock_ms,
                    max_stalled=self._max_stalled_count,
                    limit=JOBS_PER_CALL,
                    cursor=cursor,
                    events=pump.settings.events,
                    metrics=pump.settings.metrics,
                )
            )
            for job_id, what in result.recovered:
                found_work = found_work or what == "stalled"
                self._observer.stalled(pump.queue, job_id, what)
            if result.shortest_live_lock_ms > 0 and (
                shortest_live_lock_ms < 0 or result.shortest_live_lock_ms < shortest_live_lock_ms
            ):
                shortest_live_lock_ms = result.shortest_live_lock_ms
            cursor = result.next_cursor
            if not cursor:
                break
        if found_work:
            pump.poll()
        return shortest_live_lock_ms
