"""The jobs in an actor's hands, written where they survive the actor."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple, NoReturn
from zlib import crc32

from glidemq.errors import JobStateError
from glidemq.shared_memory.fence import full_fence
from glidemq.shared_memory.segment import Segment

_ROW = struct.Struct("<II")
_READS = 4


class LedgerState(IntEnum):
    """Where a job is in the actor's hands.

    FREE → TAKEN → STARTED → FREE. A job that was cancelled goes through STARTED too: the gateway looks for
    that word.
    """

    FREE = 0
    TAKEN = 1
    STARTED = 2


LEGAL_TRANSITIONS: Final = {
    LedgerState.FREE: LedgerState.TAKEN,
    LedgerState.TAKEN: LedgerState.STARTED,
    LedgerState.STARTED: LedgerState.FREE,
}
_FREE = int(LedgerState.FREE)
_TAKEN = int(LedgerState.TAKEN)
_STARTED = int(LedgerState.STARTED)


class LedgerEntry(NamedTuple):
    """One job in an actor's hands. `header` is None if the row changed while it was read."""

    slot: int
    seq: int
    state: LedgerState
    header: bytes | None


class Ledger:
    """Slots with a state word, `seq << 2 | state`, and a copy of the activation's header.

    The actor copies the header, stores TAKEN, only then moves the activation ring's head, stores STARTED,
    runs the job, pushes its outcome, stores FREE. Wherever it is killed, the job is in a ring, here, or
    both, never nowhere.

    Owns: the list of free slots (actor side). Written by: the actor. Read by: the gateway, at any time.
    Stops when: its segment is closed.
    """

    __slots__ = ("_buffer", "_free", "_row_bytes", "_rows", "_words", "header_limit", "slots")

    def __init__(self, segment: Segment, *, words: int, rows: int, slots: int, row_bytes: int) -> None:
        """`words`, `rows`: offsets of the state words and of the rows in the segment."""
        self._buffer = segment.buffer
        self._words = segment.words(words, slots)
        self._rows = rows
        self._row_bytes = row_bytes
        self.slots = slots
        self.header_limit = row_bytes - _ROW.size
        """Longest header of an activation."""
        self._free = [slot for slot in reversed(range(slots)) if not self._words[slot]]

    # -- the actor ---------------------------------------------------------------------------------

    def free_slots(self) -> int:
        """How many more jobs can be taken."""
        return len(self._free)

    def acquire(self) -> int | None:
        """A free slot for `take`; None if there is none."""
        return self._free.pop() if self._free else None

    def take(self, slot: int, seq: int, header: bytes) -> None:
        """Write down a job before the activation ring's head moves past it.

        Raises:
            ValueError: the header is longer than `header_limit`.
            JobStateError: the slot is not free.
        """
        if self._words[slot] != _FREE:
            self._refuse(slot, LedgerState.TAKEN)
        length = len(header)
        if length > self.header_limit:
            raise ValueError(f"an activation's header of {length} bytes exceeds {self.header_limit}")
        row = self._rows + slot * self._row_bytes
        self._buffer[row : row + _ROW.size + length] = (
            _ROW.pack(crc32(header, seq & 0xFFFFFFFF), length) + header
        )
        # SYNC POINT ledger: the row before the word; pairs with entries
        self._words[slot] = seq << 2 | _TAKEN

    def start(self, slot: int) -> None:
        """Say that the job runs, before it does. The caller then looks at the cancel board.

        Raises:
            JobStateError: the slot's job is not merely taken.
        """
        word: int = self._words[slot]
        if word & 3 != _TAKEN:
            self._refuse(slot, LedgerState.STARTED)
        self._words[slot] = word - _TAKEN + _STARTED

    def free(self, slot: int) -> None:
        """Forget the job, after its outcome was pushed.

        Raises:
            JobStateError: the slot's job was not started.
        """
        if self._words[slot] & 3 != _STARTED:
            self._refuse(slot, LedgerState.FREE)
        self._words[slot] = _FREE
        self._free.append(slot)

    # -- the gateway -------------------------------------------------------------------------------

    def states(self) -> dict[int, LedgerState]:
        """seq → state of all jobs in the actor's hands, without their headers; words that make no sense say nothing."""
        return {
            word >> 2: LedgerState(word & 3)
            for word in self._words.tolist()
            if word & 3 in (_TAKEN, _STARTED)
        }

    def entries(self) -> list[LedgerEntry]:
        """All jobs in the actor's hands, by slot."""
        return [entry for slot in range(self.slots) if self._words[slot] and (entry := self._entry(slot))]

    def clear(self) -> None:
        """Forget all jobs; only while the actor is dead."""
        self._words[:] = memoryview(bytes(self._words.nbytes)).cast("Q")
        self._free = list(reversed(range(self.slots)))

    def _entry(self, slot: int) -> LedgerEntry | None:
        """The slot's job; None if it was freed meanwhile."""
        start = self._rows + slot * self._row_bytes
        word = 0
        for _ in range(_READS):
            # SYNC POINT ledger: the word before the row; pairs with take
            word = self._words[slot]
            if word & 3 not in (_TAKEN, _STARTED):
                return None
            seq = word >> 2
            row = self._buffer[start : start + self._row_bytes]
            checksum, length = _ROW.unpack_from(row)
            header = row[_ROW.size : _ROW.size + length]
            if crc32(header, seq & 0xFFFFFFFF) == checksum:
                return LedgerEntry(slot, seq, LedgerState(word & 3), header)
            full_fence()
        return LedgerEntry(slot, word >> 2, LedgerState(word & 3), None)

    def _refuse(self, slot: int, wanted: LedgerState) -> NoReturn:
        state = LedgerState(self._words[slot] & 3)
        raise JobStateError(f"ledger slot {slot} is {state.name}: it cannot become {wanted.name}")
