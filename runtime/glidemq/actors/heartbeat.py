"""Extends the leases of running jobs, all of a queue's in one call."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from glidemq.actors.actor import PeriodicActor, for_each_queue
from glidemq.clock import monotonic_ns
from glidemq.commands.extend_leases import EXTENDED, REVOKED, ExtendLeasesCommand
from glidemq.commands.step import GONE, LEASE_LOST
from glidemq.connection.connection import Connection
from glidemq.errors import ConnectionError
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.lease import MAX_BEAT_INTERVAL_MS, MAX_LOCK_MS, Lease
from glidemq.pipeline.link import WorkLink
from glidemq.pipeline.queue_pump import QueuePump
from glidemq.rings.cancel_board import CancelReason

log = logging.getLogger("glidemq.actors")

LEASES_PER_CALL = 500
NEVER_NS = 1 << 63
TICK_S = 0.5  # half of the shortest heartbeat interval: locks are at least one second long


class Heartbeat(PeriodicActor):
    """Keeps every live lease of its queues, at half of its lock and never slower than every 10 s (ruling 3).

    A job whose process is dead, stopped, or past its time is not extended: then its lease runs out, as it should.
    A lost lease is final, and not extended either. Owns: when it last came round, from which `was_away` tells a
    process that was itself stopped or starved. Read by: stall recovery.
    """

    name = "heartbeat"

    def __init__(
        self,
        *,
        connection: Connection,
        in_flight: InFlight,
        pumps: Callable[[], Iterable[QueuePump]],
        link: WorkLink,
        consumer: str,
        on_away: Callable[[], None] = lambda: None,
        on_forced: Callable[[Lease, int], None] = lambda _lease, _force_in_ms: None,
    ) -> None:
        """on_away: called when leases may run out because the server, or this process itself, was away.
        on_forced: given each lease whose run is to be ended by force, and in how many ms.
        """
        super().__init__(TICK_S)
        self._connection = connection
        self._in_flight = in_flight
        self._pumps = pumps
        self._link = link
        self._consumer = consumer
        self._on_away = on_away
        self._on_forced = on_forced
        self._came_round_ns = monotonic_ns()

    @property
    def was_away(self) -> bool:
        """True while leases may be unextended for no other reason than that this loop did not turn."""
        shortest_ms = min((lease.lock_ms for lease in self._leases()), default=MAX_LOCK_MS)
        patience_ms = min(shortest_ms // 2, MAX_BEAT_INTERVAL_MS)
        return monotonic_ns() - self._came_round_ns > int(TICK_S * 1e9) + patience_ms * 1_000_000

    async def tick(self) -> None:
        """Extend the leases that fall due before the next tick."""
        if self.was_away:
            self._on_away()
        self._came_round_ns = monotonic_ns()
        horizon_ns = self._came_round_ns + int(TICK_S * 1e9)
        try:
            await self._extend([lease for lease in self._leases() if lease.next_beat_ns <= horizon_ns])
        except ConnectionError:
            self._on_away()
            raise

    async def extend_all(self) -> None:
        """Extend every lease: the first thing after a connection came back (feasibility 9)."""
        await self._extend(list(self._leases()))

    async def extend(self, leases: list[Lease]) -> None:
        """Extend these, since there is news about them."""
        await self._extend(leases)

    def _leases(self) -> Iterator[Lease]:
        for pump in self._pumps():
            yield from self._in_flight.of(pump)

    async def _extend(self, leases: list[Lease]) -> None:
        by_queue: dict[QueuePump, list[Lease]] = defaultdict(list)
        for lease in leases:
            if lease.next_beat_ns != NEVER_NS and self._link.is_alive(lease):
                by_queue[lease.pump].append(lease)

        async def extend(pump: QueuePump) -> None:
            owned = by_queue[pump]
            for start in range(0, len(owned), LEASES_PER_CALL):
                await self._extend_batch(pump, owned[start : start + LEASES_PER_CALL])

        await for_each_queue(list(by_queue), extend)

    async def _extend_batch(self, pump: QueuePump, leases: list[Lease]) -> None:
        short_locks = [lease.lock_ms for lease in leases if lease.lock_ms < pump.settings.lock_ms]
        command = ExtendLeasesCommand(
            pump.keys.meta,
            rows=[lease.fence for lease in leases],
            cell=self._consumer,
            lock_ms=min(short_locks, default=None),
        )
        result = await self._connection.execute(command)
        now_ns = monotonic_ns()
        for position, (lease, code) in enumerate(zip(leases, result.codes, strict=True)):
            lease.next_beat_ns = now_ns + lease.beat_interval_ns
            # A lease whose outcome is on its way is not lost, its job is merely finished.
            if code == EXTENDED or self._in_flight.get(lease.seq) is not lease:
                continue
            if code in (LEASE_LOST, GONE):
                lease.next_beat_ns = NEVER_NS
                log.warning(
                    "lost the lease of job %s of queue %r: %s; its outcome will be refused",
                    lease.id.decode(errors="replace"),
                    pump.queue,
                    "it was removed" if code == GONE else "somebody else took it over",
                )
            if code in (LEASE_LOST, GONE, REVOKED):
                self._link.abort(lease, CancelReason.ABORT)
            if position in result.forced:
                self._on_forced(lease, result.forced[position])
