"""The reading end of a ring."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from zlib import crc32

from glidemq.errors import RingCorruptionError, SharedMemoryError
from glidemq.rings.layout import FLAG_SPILLED, PREFIX, RECORD_ALIGNMENT, SPILL_SLOT
from glidemq.rings.records import Record
from glidemq.shared_memory.fence import full_fence

if TYPE_CHECKING:
    from glidemq.rings.spsc_ring import SpscRing

_PREFIX_BYTES: Final = PREFIX.size
_ROUND_UP: Final = RECORD_ALIGNMENT - 1
_ROUND_MASK: Final = -RECORD_ALIGNMENT
_CHUNK_BYTES: Final = 64 * 1024  # holds any record whole; one copy serves the many small ones of a burst
_READS_PER_CHUNK: Final = 256
_CORRUPTION_RETRIES: Final = 5
_RETRY_PAUSE_S: Final = 0.0005
_unpack_prefix = PREFIX.unpack_from
# Half the cost of Record(...), which binds its arguments by name first.
_new_record: Callable[[type[Record], tuple[int, int, bytes, bytes]], Record] = tuple.__new__  # pyright: ignore


class RingReader:
    """Takes records out of a ring, in the order in which they were pushed.

    Two ways, which may be mixed: popping moves the shared head at once; reading leaves it where it is until
    `acknowledge` or `settle`, and what was not acknowledged is read again by the next process that attaches.

    Owns: the ring's head. Written by: one thread of one process. Read by: nobody.
    Stops when: the ring's segment is closed; after a `RingCorruptionError` it has nothing more to give.
    """

    __slots__ = (
        "_buffer",
        "_capacity",
        "_data",
        "_head",
        "_position",
        "_read_word",
        "_ready",
        "_ring",
        "_salt",
        "_segment",
        "_settled",
        "_spilled",
        "_tail_word",
        "_unsettled",
        "read_before",
    )

    def __init__(self, ring: SpscRing, *, observing: bool = False) -> None:
        """`observing`: only look at what is unread; never to be acknowledged."""
        self._ring = ring
        self._segment = ring.segment
        self._buffer = ring.segment.buffer
        self._capacity = ring.capacity
        self._data = ring.data
        self._tail_word = ring.tail
        self._read_word = None if observing else ring.read
        self.resume()
        if not observing:
            ring.spill.release_acknowledged(ring.number, self._head)

    def resume(self) -> None:
        """Take up the ring as it now is: after its generation was raised."""
        self._salt = self._ring.salt
        self._head: int = self._ring.head[0]
        self._position = self._head  # end of what was copied out of the ring
        self._ready: deque[tuple[Record, int]] = deque()  # copied, not handed out
        self._spilled: deque[tuple[int, int]] = deque()  # (end position, slot) of records not acknowledged
        self._unsettled: deque[int] = deque()  # end positions handed out by reading, not acknowledged
        self._settled: set[int] = set()
        self.read_before: int = self._ring.read[0]
        """Records that end at or before this position were handed out by an earlier process that then ended:
        what they ask for may have been done."""

    # -- popping -----------------------------------------------------------------------------------

    def try_pop(self) -> Record | None:
        """Take the next record and acknowledge it; None when the ring is empty.

        Raises:
            RingCorruptionError: the next record is committed and does not match its checksum.
            SharedMemoryError: this process was forked from the reader.
        """
        items = self._take(1)
        if not items:
            return None
        record, position = items[0]
        self._acknowledge_all(position)
        return record

    def pop_many(self, limit: int) -> list[Record]:
        """Take up to `limit` records, an empty list if there are none, and acknowledge them."""
        items = self._take(limit)
        if not items:
            return []
        self._acknowledge_all(items[-1][1])
        return [item[0] for item in items]

    # -- reading ahead -----------------------------------------------------------------------------

    def try_read(self) -> tuple[Record, int] | None:
        """The next record and the position that acknowledges it and all before it. Raises as `try_pop`."""
        items = self.read_many(1)
        return items[0] if items else None

    def read_many(self, limit: int) -> list[tuple[Record, int]]:
        """Up to `limit` records, each with the position that acknowledges it; raises as `try_pop`."""
        items = self._take(limit)
        if items:
            self._unsettled.extend([item[1] for item in items])
            if self._read_word is not None:
                self._read_word[0] = items[-1][1]
        return items

    def acknowledge(self, position: int) -> None:
        """Give the bytes of all records up to `position` back to the writer."""
        unsettled = self._unsettled
        if not unsettled or position < unsettled[0]:
            return
        settled = self._settled
        head = 0
        while unsettled and unsettled[0] <= position:
            head = unsettled.popleft()
            settled.discard(head)
        self._move_head(head)

    def settle(self, position: int) -> None:
        """Acknowledge the record that ends at `position` alone; the head follows when all before it are."""
        if position <= self._head:
            return
        unsettled = self._unsettled
        settled = self._settled
        settled.add(position)
        head = 0
        while unsettled and unsettled[0] in settled:
            head = unsettled.popleft()
            settled.discard(head)
        if head:
            self._move_head(head)

    # -- looking -----------------------------------------------------------------------------------

    def is_empty(self) -> bool:
        """True if there is nothing to hand out: to be asked between `prepare_sleep` and `wait`."""
        return not self._ready and self._tail_word[0] == self._position

    def unread_bytes(self) -> int:
        """Bytes that were not acknowledged."""
        tail: int = self._tail_word[0]
        return tail - self._head

    # -- inside ------------------------------------------------------------------------------------

    def _take(self, limit: int) -> list[tuple[Record, int]]:
        ready = self._ready
        while len(ready) < limit and self._read_ahead():
            pass  # a chunk ends with its lap, so that more may follow
        if len(ready) <= limit:
            items = list(ready)
            ready.clear()
            return items
        return [ready.popleft() for _ in range(limit)]

    def _acknowledge_all(self, position: int) -> None:
        if self._unsettled:
            self._unsettled.clear()
            self._settled.clear()
        self._move_head(position)

    def _move_head(self, head: int) -> None:
        self._head = head
        # SYNC POINT reuse: private copies, checked and branched on, before the head; pairs with _make_room
        self._ring.head[0] = head
        spilled = self._spilled
        while spilled and spilled[0][0] <= head:
            self._ring.spill.release(spilled.popleft()[1])

    def _read_ahead(self) -> bool:
        """Copy a chunk of committed records and check each; what does not match is looked at again."""
        if self._segment.foreign:
            raise SharedMemoryError("the ring belongs to the parent process; a forked process cannot read it")
        while True:
            # SYNC POINT publish: the tail before the record; pairs with RingWriter.try_push
            tail: int = self._tail_word[0]
            if tail == self._position:
                return False
            before = len(self._ready)
            if not self._parse_chunk(tail) and not self._parse_again():
                return False
            if len(self._ready) > before:  # else it was a filler alone, which a record always follows
                return True

    def _parse_again(self) -> bool:
        """Retry a mismatch; False if it stays and there are records before it to hand out first."""
        for attempt in range(_CORRUPTION_RETRIES):
            full_fence()  # makes the writer's earlier stores visible
            if attempt:
                time.sleep(_RETRY_PAUSE_S)
            if self._parse_chunk(self._tail_word[0]):
                return True
        if self._ready:
            return False
        raise RingCorruptionError(
            f"the record at position {self._position} of the ring does not match its checksum "
            f"(head {self._head}, tail {self._tail_word[0]}): "
            "the actor process is replaced and its jobs run again"
        )

    def _parse_chunk(self, tail: int) -> bool:
        """Parse records between the private position and `tail`; False if the very first does not match."""
        capacity = self._capacity
        position = self._position
        if not position < tail <= self._head + capacity or tail & _ROUND_UP:
            return False
        offset = position & (capacity - 1)
        length = min(tail - position, capacity - offset, _CHUNK_BYTES)
        start = self._data + offset
        chunk = self._buffer[start : start + length]
        append = self._ready.append
        salt = self._salt
        base = position
        at = 0
        parsed = 0
        while at < length and parsed < _READS_PER_CHUNK:
            checksum, body_length, seq, header_length, kind, flags = _unpack_prefix(chunk, at)
            header_end = at + _PREFIX_BYTES + header_length
            if flags or not kind:
                end = self._parse_special(chunk, at, position)
                if not end:
                    break
                parsed = _READS_PER_CHUNK - 1 if flags else parsed  # one large body at a time
            else:
                end = header_end + body_length
                if end > length or crc32(chunk[at + 4 : end], position + salt) != checksum:
                    break
                end = (end + _ROUND_UP) & _ROUND_MASK
                header = chunk[at + _PREFIX_BYTES : header_end]
                body = chunk[header_end : header_end + body_length]
                append((_new_record(Record, (kind, seq, header, body)), base + end))
            at = end
            position = base + at
            parsed += 1
        self._position = position
        return at > 0

    def _parse_special(self, chunk: bytes, at: int, position: int) -> int:
        """Parse a filler or a record with a spilled body; its end in the chunk, or 0 if it does not match."""
        checksum, body_length, seq, header_length, kind, flags = _unpack_prefix(chunk, at)
        spilled = bool(flags & FLAG_SPILLED)
        header_end = at + _PREFIX_BYTES + header_length
        end = header_end + SPILL_SLOT.size if spilled else at + _PREFIX_BYTES
        if end > len(chunk):
            return 0
        actual = crc32(chunk[at + 4 : end], position + self._salt)
        if not spilled:
            whole = actual == checksum and body_length > 0 and not body_length & _ROUND_UP
            return at + body_length if whole else 0
        (slot,) = SPILL_SLOT.unpack_from(chunk, header_end)
        body = self._ring.spill.load(slot, body_length)
        if crc32(body, actual) != checksum:
            return 0
        end = (end + _ROUND_UP) & _ROUND_MASK
        end_position = position - at + end
        self._spilled.append((end_position, slot))
        self._ready.append((Record(kind, seq, chunk[at + _PREFIX_BYTES : header_end], body), end_position))
        return end
