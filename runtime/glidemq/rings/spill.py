"""Where bodies go that are too large for a ring."""

from __future__ import annotations

from glidemq.shared_memory.segment import Segment


class SpillArea:
    """Slots for large bodies that travel in one direction; pages exist only while a slot is used.

    A slot's word is 0 while it is free, else `(position << 2) | (ring + 1)` of the record that refers to it.
    The side that writes records takes slots (0 → word), the side that reads them frees them (word → 0)
    after it has moved its head past the record: each word has one writer at any time, and a death on either
    side leaves words from which the next process sees what may be freed.

    Bodies are read and written by descriptor, not through a mapping: without memory for a page that fails
    with an error, where touching the mapping would end the process.

    Owns: nothing. Written by, read by: see above. Stops when: its segment is closed.
    """

    __slots__ = ("_segment", "_words", "slot_bytes", "slots")

    def __init__(self, segment: Segment, words: memoryview, slot_bytes: int) -> None:
        self._segment = segment
        self._words = words
        self.slots = len(words)
        self.slot_bytes = slot_bytes

    # -- the side that writes records --------------------------------------------------------------

    def try_store(self, ring: int, position: int, body: bytes) -> int | None:
        """Put `body` in a free slot for the record at `position`; None if no slot, or no memory, is free.

        Raises:
            ValueError: the body is larger than a slot.
        """
        if len(body) > self.slot_bytes:
            raise ValueError(
                f"a body of {len(body)} bytes does not fit into a ring: the limit is {self.slot_bytes} bytes"
            )
        words = self._words
        for slot in range(self.slots):
            if words[slot] == 0:
                words[slot] = (position << 2) | (ring + 1)
                if self._segment.write_at(slot * self.slot_bytes, body):
                    return slot
                self.release(slot)
                return None
        return None

    def release_uncommitted(self, ring: int, tail: int) -> None:
        """Free what a writer killed before it committed the record has left behind."""
        for slot, word in enumerate(self._words.tolist()):
            if (word & 3) == ring + 1 and (word >> 2) >= tail:
                self.release(slot)

    # -- the side that reads records ---------------------------------------------------------------

    def load(self, slot: int, length: int) -> bytes:
        """A private copy of a body; an empty one if the numbers make no sense, so that its checksum fails."""
        if slot >= self.slots or length > self.slot_bytes:
            return b""
        return self._segment.read_at(slot * self.slot_bytes, length)

    def release(self, slot: int) -> None:
        """Give the slot's pages back, then the slot."""
        self._segment.punch(slot * self.slot_bytes, self.slot_bytes)
        # SYNC POINT spill: the pages are gone before the slot can be taken; pairs with try_store
        self._words[slot] = 0

    def release_acknowledged(self, ring: int, head: int) -> None:
        """Free what a reader killed after it moved its head has not freed."""
        for slot, word in enumerate(self._words.tolist()):
            if (word & 3) == ring + 1 and (word >> 2) < head:
                self.release(slot)

    def clear(self) -> None:
        """Free everything; only while nobody is at the other side."""
        for slot, word in enumerate(self._words.tolist()):
            if word:
                self.release(slot)
