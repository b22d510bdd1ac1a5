"""One ring in a segment of its own, for tests of the rings alone."""

from __future__ import annotations

import os

from glidemq.rings.spill import SpillArea
from glidemq.rings.spsc_ring import SpscRing
from glidemq.shared_memory.segment import Segment

PAGE = 4096
GENERATION, SPILL_WORDS, CONTROL = 0, 512, 1024


class RingInMemory:
    """A ring with its spill area. Owns: two segments. Stops when: closed."""

    def __init__(
        self, capacity: int = PAGE, *, spill_slots: int = 4, spill_slot_bytes: int = 16 * PAGE
    ) -> None:
        self.capacity = capacity
        self.spill_slots = spill_slots
        self.spill_slot_bytes = spill_slot_bytes
        self.segment = Segment.create(PAGE + max(capacity, PAGE), name="test-ring")
        self.spilled = Segment.create(spill_slots * spill_slot_bytes, name="test-spill", sparse=True)
        self.segment.words(GENERATION, 1)[0] = 1

    def attach(self, number: int = 0) -> SpscRing:
        """A new view of the ring, as another process has it."""
        segment = Segment.attach(self.segment.fd, self.segment.size)
        spill = SpillArea(
            Segment.attach(self.spilled.fd, self.spilled.size),
            segment.words(SPILL_WORDS, self.spill_slots),
            self.spill_slot_bytes,
        )
        return SpscRing(
            segment,
            control=CONTROL,
            data=PAGE,
            capacity=self.capacity,
            generation=segment.words(GENERATION, 1),
            spill=spill,
            number=number,
        )

    def spilled_bytes(self) -> int:
        """Memory that spilled bodies occupy."""
        return os.fstat(self.spilled.fd).st_blocks * 512

    def close(self) -> None:
        """Give everything back."""
        self.segment.close()
        self.spilled.close()


def record_bytes(header: bytes, body: bytes) -> int:
    """What a record that is kept inline occupies in the ring."""
    return (20 + len(header) + len(body) + 31) & -32
