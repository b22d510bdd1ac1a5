"""Recovers jobs whose holder stopped extending their lease: another host died, or froze."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary

from glidemq.actors.actor import PeriodicActor
from glidemq.actors.observer import CellObserver
from glidemq.actors.server_clock import ServerClock
from glidemq.clock import monotonic_ns
from glidemq.commands.recover_stalled import RecoverStalledCommand, StalledResult
from glidemq.connection.connection import Connection
from glidemq.errors import ConnectionError, GlideMQError, ServerError
from glidemq.pipeline.lease import MAX_BEAT_INTERVAL_MS
from glidemq.pipeline.queue_pump import QueuePump

log = logging.getLogger("glidemq.actors")

JOBS_PER_CALL = 100
SHORTEST_INTERVAL_S = 0.5
GLANCE_S = 1.0  # how often to ask whether jobs run whose lock is shorter than the interval
SLACK_S = 0.1  # a look this much before its time is better than one a whole tick after it
TOO_LATE_AT_ONCE = 0  # such a call only tells the time, and which locks are known
CALL_PATIENCE_MS = 1_000  # a call that takes longer has waited for the server, as everybody's heartbeats have
SHORTEST_GRACE_MS = 2_000  # hosts find a server that is back within this time of each other


class StallRecovery(PeriodicActor):
    """Looks through each queue's active jobs at half of the shortest live lock, every `stalled_interval` at the latest.

    A job with a short lock of its own may have started on another host since the last look, and that host have died:
    the queue tells of such locks, and is asked for them every second.
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
        super().__init__(min(stalled_interval_s, GLANCE_S))
        self._connection = connection
        self._pumps = pumps
        self._consumer = consumer
        self._stalled_interval_s = stalled_interval_s
        self._max_stalled_count = max_stalled_count
        self._observer = observer
        self._was_away = was_away
        self._not_before_ns = 0
        self._clocks: WeakKeyDictionary[QueuePump, ServerClock] = WeakKeyDictionary()
        self._looked_ns: WeakKeyDictionary[QueuePump, int] = WeakKeyDictionary()
        self._troubled = False  # something failed, and the server has not answered us since

    def grant_grace(self) -> None:
        """Judge nobody until the server has answered again, and two heartbeats more: it was away, or we were."""
        self._troubled = True

    async def run(self) -> None:
        """As a periodic actor, but the first look comes after one interval: the start is the orphans' time."""
        await asyncio.sleep(min(self.interval_s, 1.0))
        await super().run()

    async def tick(self) -> None:
        """One pass over every queue whose time has come."""
        if self._was_away():
            self.grant_grace()
        if self._troubled:
            await self._find_the_server_back()
        shortest_s = min(self._stalled_interval_s, GLANCE_S)
        for pump in list(self._pumps()):
            if self._troubled or monotonic_ns() < self._not_before_ns:
                return
            try:
                shortest_s = min(shortest_s, await self._attend_to(pump))
            except ServerError as error:  # that queue's trouble: the others' dead are looked for all the same
                log.debug("stalled jobs of queue %r: %s", pump.queue, error)
        self.interval_s = max(shortest_s, SHORTEST_INTERVAL_S)

    async def _attend_to(self, pump: QueuePump) -> float:
        """Look through one queue's jobs if it is time; seconds until the next look at it, counted from this one."""
        looked_ns = self._looked_ns.get(pump)
        if looked_ns is not None:
            known = await self._call(pump, "", TOO_LATE_AT_ONCE)
            interval_s = self._interval_s(pump, known.shortest_live_lock_ms)
            if monotonic_ns() - looked_ns < int((interval_s - SLACK_S) * 1e9):
                return interval_s
        self._looked_ns[pump] = monotonic_ns()
        lock_ms = await self._recover(pump)
        pump.recheck_orphans()
        return self._interval_s(pump, lock_ms)

    def _interval_s(self, pump: QueuePump, shortest_lock_ms: int) -> float:
        """Half of the shortest lock, at most the configured interval."""
        locks_ms = [lock_ms for lock_ms in (pump.settings.lock_ms, shortest_lock_ms) if lock_ms > 0]
        return max(min([self._stalled_interval_s, *(ms / 2000 for ms in locks_ms)]), SHORTEST_INTERVAL_S)

    async def _find_the_server_back(self) -> None:
        """From its first answer on, everybody has time for two heartbeats."""
        self._troubled = False
        longest_ms = 0
        for pump in list(self._pumps()):
            with contextlib.suppress(ServerError):
                await self._call(pump, "", TOO_LATE_AT_ONCE)
            longest_ms = max(longest_ms, pump.settings.lock_ms)
        grace_ms = max(SHORTEST_GRACE_MS, 2 * min(longest_ms // 2, MAX_BEAT_INTERVAL_MS))
        self._not_before_ns = monotonic_ns() + grace_ms * 1_000_000

    async def _recover(self, pump: QueuePump) -> int:
        """Look at all jobs of one queue; the shortest lock of a live one, or -1."""
        cursor = ""
        shortest_live_lock_ms = -1
        found_work = False
        while (result := await self._look(pump, cursor)) is not None:
            for job_id, what in result.recovered:
                found_work = found_work or what in ("stalled", "returned")
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

    async def _look(self, pump: QueuePump, cursor: str) -> StalledResult | None:
        """One page; None when the call waited for a server that was away for everybody's heartbeats too."""
        clock = self._clocks.setdefault(pump, ServerClock())
        if not clock.known:
            asked_ns = monotonic_ns()
            await self._call(pump, "", TOO_LATE_AT_ONCE)
            if monotonic_ns() - asked_ns > CALL_PATIENCE_MS * 1_000_000:
                self.grant_grace()
                return None
        not_after_ms = clock.now_ms() + CALL_PATIENCE_MS
        result = await self._call(pump, cursor, not_after_ms)
        if result.now_ms > not_after_ms:
            self.grant_grace()
            return None
        return result

    async def _call(self, pump: QueuePump, cursor: str, not_after_ms: int) -> StalledResult:
        clock = self._clocks.setdefault(pump, ServerClock())
        try:
            result = await self._connection.execute(self._command(pump, cursor, not_after_ms))
        except GlideMQError as error:
            clock.forget()
            if isinstance(error, ConnectionError):
                self.grant_grace()
            raise
        clock.learn(result.now_ms)
        return result

    def _command(self, pump: QueuePump, cursor: str, not_after_ms: int) -> RecoverStalledCommand:
        settings = pump.settings
        return RecoverStalledCommand(
            pump.keys.meta,
            consumer=self._consumer,
            cell=self._consumer,
            stalled_ms=int(self._stalled_interval_s * 1000),
            lock_ms=settings.lock_ms,
            max_stalled=self._max_stalled_count,
            limit=JOBS_PER_CALL,
            not_after_ms=not_after_ms,
            cursor=cursor,
            events=settings.events,
            metrics=settings.metrics,
        )
