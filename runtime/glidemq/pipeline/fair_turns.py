"""Whose turn it is among the queues that share slots: processing time in proportion to their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from glidemq.pipeline.link import WorkLink

if TYPE_CHECKING:
    from glidemq.pipeline.lease import Lease
    from glidemq.pipeline.queue_pump import QueuePump


class FairTurns:
    """A line in which every queue stands as far back as the processing time, by weight, that it has had.

    Start-time fair queueing (Goyal, Vin, Cheng 1996): a queue is charged for a job as it starts, by what its name is
    expected to take, and corrected once it has ended. One that had nothing to do joins where the line is now, so that
    it neither owes nor has saved up anything.
    Owns: the positions. Written by: the pumps. Read by: the pumps, before they ask for slots.
    """

    def __init__(self, pumps: Callable[[], Iterable[QueuePump]], link: WorkLink) -> None:
        self._pumps = pumps
        self._link = link
        self._positions: dict[QueuePump, float] = {}
        self._drained: set[QueuePump] = set()
        self._front = 0.0  # how far back the queue stood that asked last

    def may_ask(self, pump: QueuePump) -> bool:
        """Whether no queue before this one wants one of the same slots; one that does is told to ask."""
        position = self._position(pump)
        for other in self._pumps():
            if (
                other is not pump
                and other.hungry
                and self._position(other) < position
                and self._link.share_slots(pump, other)
                and self._link.wants(other)[0] > 0
            ):
                other.kick()
                return False
        self._drained.discard(pump)
        self._positions[pump] = position
        self._front = max(self._front, position)
        return True

    def may_queue_up(self, pump: QueuePump) -> bool:
        """Whether a job may wait in a ring for a slot that is not free yet: not before it is its turn among weights."""
        weight, position = pump.settings.weight, self._position(pump)
        return not any(
            other.settings.weight != weight
            and other.busy
            and self._position(other) < position
            and self._link.share_slots(pump, other)
            for other in self._pumps()
        )

    def charge(self, pump: QueuePump, lease: Lease) -> None:
        """A job was granted."""
        lease.charged_ns = pump.service_times.expected_ns(lease.name)
        self._add(pump, lease.charged_ns)

    def correct(self, pump: QueuePump, lease: Lease, service_ns: int) -> None:
        """A job has run for this long; 0 for one that was given back."""
        self._add(pump, service_ns - lease.charged_ns)
        lease.charged_ns = service_ns

    def drained(self, pump: QueuePump) -> None:
        """The server has nothing more for this queue that may start."""
        self._drained.add(pump)

    def _add(self, pump: QueuePump, ns: int) -> None:
        self._positions[pump] = self._positions.get(pump, 0.0) + ns / pump.settings.weight

    def _position(self, pump: QueuePump) -> float:
        position = self._positions.get(pump, 0.0)
        return max(position, self._front) if pump in self._drained else position
