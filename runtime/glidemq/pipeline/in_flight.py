"""Every lease that this cell holds, by its sequence number."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from glidemq.pipeline.lease import Lease

if TYPE_CHECKING:
    from glidemq.pipeline.queue_pump import QueuePump

# Sequence numbers of one gateway never meet those of its predecessor, whose records may still sit in the rings.
GENERATION_SHIFT = 40


class InFlight:
    """The table of leases between activation and settlement.

    Written by: the queue pumps (add) and the work link (take). Read by: heartbeat, deadlines, orphan recovery.
    """

    def __init__(self, generation: int = 0) -> None:
        self._leases: dict[int, Lease] = {}
        self._by_queue: defaultdict[QueuePump, dict[int, Lease]] = defaultdict(dict)
        self._sequence = itertools.count((generation << GENERATION_SHIFT) + 1)

    def __len__(self) -> int:
        return len(self._leases)

    def __iter__(self) -> Iterator[Lease]:
        return iter(tuple(self._leases.values()))

    def next_seq(self) -> int:
        """A number that no other lease of this cell has or had."""
        return next(self._sequence)

    def add(self, lease: Lease) -> None:
        """Note a lease that was just granted."""
        self._leases[lease.seq] = self._by_queue[lease.pump][lease.seq] = lease

    def get(self, seq: int) -> Lease | None:
        """The lease with this number, if it is not settled yet."""
        return self._leases.get(seq)

    def take(self, seq: int) -> Lease | None:
        """Remove the lease whose outcome is known; None when it was taken back or settled before."""
        lease = self._leases.pop(seq, None)
        if lease is not None:
            del self._by_queue[lease.pump][seq]
        return lease

    def of(self, pump: QueuePump) -> list[Lease]:
        """The leases of one queue."""
        return list(self._by_queue[pump].values())
