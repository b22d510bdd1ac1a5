"""A bounded ring of byte records between exactly two processes."""

from __future__ import annotations

from typing import Final

from glidemq.rings.layout import HEAD, HEADER_BYTES, READ, RECORD_ALIGNMENT, RECORD_INLINE_BYTES, TAIL
from glidemq.rings.ring_reader import RingReader
from glidemq.rings.ring_writer import RingWriter
from glidemq.rings.spill import SpillArea
from glidemq.shared_memory.segment import Segment

_SALT_FACTOR: Final = 0x9E3779B1
_RING_FACTOR: Final = 0x85EBCA6B


class SpscRing:
    """One ring in a segment: its place, its sizes, and who has which role.

    Positions count bytes ever written and never wrap. `tail` commits: a record exists once the tail has
    passed it, so a writer killed earlier leaves nothing. `head` acknowledges: the bytes before it may be
    overwritten. Each record's checksum starts from its position and the generation, so that what an earlier
    lap or an earlier actor left is never taken for a record.

    Owns: nothing. Written by: its one writer, except `head` and `read`, which are the one reader's.
    Read by: its one reader; after an actor's death also by the gateway that was its writer.
    Stops when: its segment is closed.
    """

    __slots__ = (
        "_reader",
        "_writer",
        "capacity",
        "data",
        "generation",
        "head",
        "number",
        "read",
        "segment",
        "spill",
        "tail",
    )

    def __init__(
        self,
        segment: Segment,
        *,
        control: int,
        data: int,
        capacity: int,
        generation: memoryview,
        spill: SpillArea,
        number: int = 0,
    ) -> None:
        """`control`, `data`: offsets. `number`, 0 or 1: tells apart the rings that share `spill`."""
        if capacity & (capacity - 1) or capacity < 1024:
            raise ValueError(f"a ring's capacity must be a power of two of at least 1024, got {capacity}")
        self.segment = segment
        self.capacity = capacity
        self.data = data
        self.tail = segment.words(control + TAIL, 1)
        self.head = segment.words(control + HEAD, 1)
        self.read = segment.words(control + READ, 1)
        self.generation = generation
        self.spill = spill
        self.number = number
        self._writer: RingWriter | None = None
        self._reader: RingReader | None = None

    @property
    def inline_limit(self) -> int:
        """Longest record kept in the ring; at any position, half a ring can become free, but not all of it."""
        return min(RECORD_INLINE_BYTES, self.capacity // 2 - RECORD_ALIGNMENT)

    @property
    def header_limit(self) -> int:
        """Longest header of a record."""
        return min(HEADER_BYTES, self.capacity // 4)

    @property
    def salt(self) -> int:
        """What the checksums start from, besides the position."""
        generation: int = self.generation[0]
        return (generation * _SALT_FACTOR + self.number * _RING_FACTOR) & 0xFFFFFFFF

    def writer(self) -> RingWriter:
        """The writing role; a process may take it once.

        Raises:
            RuntimeError: it was taken.
        """
        if self._writer is not None:
            raise RuntimeError("this process already has the ring's writer")
        self._writer = RingWriter(self)
        return self._writer

    def reader(self) -> RingReader:
        """The reading role, which begins at the acknowledged head; a process may take it once.

        Raises:
            RuntimeError: it was taken.
        """
        if self._reader is not None:
            raise RuntimeError("this process already has the ring's reader")
        self._reader = RingReader(self)
        return self._reader

    def clear(self) -> None:
        """Forget all records, while nobody is at the other side; the next generation begins with this."""
        self.tail[0] = 0
        self.head[0] = 0
        self.read[0] = 0
