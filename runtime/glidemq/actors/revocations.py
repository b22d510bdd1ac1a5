"""Hears of revoked jobs long before their heartbeat is due, and ends by force what does not stop by itself."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple

from glidemq.actors.actor import PeriodicActor, for_each_queue
from glidemq.clock import monotonic_ns
from glidemq.commands.get_revocations import MOST_RUNNING, GetRevocationsCommand
from glidemq.connection.connection import Connection
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.link import WorkLink
from glidemq.pipeline.queue_pump import QueuePump

# A revoked job is to see its abort signal within a second, with time to spare for a host under load.
LOOK_EVERY_S: Final = 0.3
# A run that was to be ended and still goes on is looked at again.
END_AGAIN_S: Final = 1.0


class _End(NamedTuple):
    at_ns: int
    timer: asyncio.TimerHandle


class Revocations(PeriodicActor):
    """Asks, for every queue with jobs in hand, which of them were revoked; their leases are extended at once.

    What extending says about such a lease, its abort signal and the time of a forced end, is done by the heartbeat;
    an outage that lasts longer than the server remembers is made good by the next one. Clients of other libraries mark
    the job and announce nothing: jobs that were running at the last look already are asked about by their ids, up to
    1,000 of a queue in each look, in turn. Owns: the timers of forced ends.
    """

    name = "revocations"

    def __init__(
        self,
        *,
        connection: Connection,
        in_flight: InFlight,
        pumps: Callable[[], Iterable[QueuePump]],
        link: WorkLink,
        extend: Callable[[list[Lease]], Awaitable[None]],
    ) -> None:
        super().__init__(LOOK_EVERY_S)
        self._connection = connection
        self._in_flight = in_flight
        self._pumps = pumps
        self._link = link
        self._extend = extend
        self._since_ms: dict[QueuePump, int] = {}
        self._asked_up_to: dict[QueuePump, int] = {}  # the sequence number of the last lease of the last look
        self._ends: dict[Lease, _End] = {}

    async def tick(self) -> None:
        """One question per busy queue."""
        await for_each_queue([pump for pump in self._pumps() if self._in_flight.of(pump)], self._look)

    async def _look(self, pump: QueuePump) -> None:
        since_ms = self._since_ms.get(pump, 0)
        command = GetRevocationsCommand(
            pump.keys.meta, since_ms=since_ms, running=self._running_since(pump, since_ms)
        )
        news = await self._connection.execute(command)
        revoked = set(news.ids)
        if revoked:
            # All of them: one that is aborted already may have got a time for its end.
            await self._extend([lease for lease in self._in_flight.of(pump) if lease.id in revoked])
        self._since_ms[pump] = news.now_ms

    def _running_since(self, pump: QueuePump, time_ms: int) -> list[bytes]:
        """Ids of jobs that were started by then and have not been told to stop, from where the last look ended."""
        leases = [
            lease
            for lease in self._in_flight.of(pump)
            if lease.processed_on <= time_ms and not lease.abort_reason
        ]
        if len(leases) > MOST_RUNNING:
            leases.sort(key=lambda lease: lease.seq)
            first = bisect_right(leases, self._asked_up_to.get(pump, 0), key=lambda lease: lease.seq)
            leases = (leases[first:] + leases[:first])[:MOST_RUNNING]
            self._asked_up_to[pump] = leases[-1].seq
        return [lease.id for lease in leases]

    # -- ending by force ------------------------------------------------------------------------------------

    def end_in(self, lease: Lease, delay_ms: int) -> None:
        """End the lease's run so many ms from now, unless it ends before; the earliest time counts."""
        at_ns = monotonic_ns() + delay_ms * 1_000_000
        planned = self._ends.get(lease)
        if planned is not None:
            if planned.at_ns <= at_ns:
                return
            planned.timer.cancel()
        timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._end, lease)
        self._ends[lease] = _End(at_ns, timer)

    def _end(self, lease: Lease) -> None:
        del self._ends[lease]
        if self._in_flight.get(lease.seq) is lease:
            self._link.end(lease)
            self.end_in(lease, int(END_AGAIN_S * 1000))

    async def stop(self) -> None:
        """End the loop, and forget the timers."""
        await super().stop()
        for end in self._ends.values():
            end.timer.cancel()
        self._ends.clear()
