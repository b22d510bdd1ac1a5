"""The writing end of a ring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

from glidemq.errors import SharedMemoryError
from glidemq.rings.layout import FLAG_SPILLED, PREFIX, PREFIX_AFTER_CRC, RECORD_ALIGNMENT, SPILL_SLOT

if TYPE_CHECKING:
    from glidemq.rings.spsc_ring import SpscRing

_PREFIX_BYTES: Final = PREFIX.size
_ROUND_UP: Final = RECORD_ALIGNMENT - 1
_ROUND_MASK: Final = -RECORD_ALIGNMENT
_pack_prefix = PREFIX_AFTER_CRC.pack
_unpack_prefix = PREFIX.unpack_from


class RingWriter:
    """Appends records to a ring.

    Owns: the ring's tail. Written by: one thread of one process. Read by: nobody.
    Stops when: the ring's segment is closed or given to another generation; pushing then raises.
    """

    __slots__ = (
        "_buffer",
        "_data",
        "_generation",
        "_generation_word",
        "_header_limit",
        "_inline_limit",
        "_limit",
        "_mask",
        "_ring",
        "_salt",
        "_segment",
        "_tail",
        "_tail_word",
    )

    def __init__(self, ring: SpscRing) -> None:
        self._ring = ring
        self._segment = ring.segment
        self._buffer = ring.segment.buffer
        self._data = ring.data
        self._mask = ring.capacity - 1
        self._header_limit = ring.header_limit
        self._inline_limit = ring.inline_limit
        self._tail_word = ring.tail
        self._generation_word = ring.generation
        self.resume()
        ring.spill.release_uncommitted(ring.number, self._tail)

    def resume(self) -> None:
        """Take up the ring as it now is: after its generation was raised."""
        self._generation: int = self._generation_word[0]
        self._salt = self._ring.salt
        self._tail: int = self._tail_word[0]
        self._limit = self._tail  # the position up to which the next records may go without looking further

    def try_push(self, kind: int, seq: int, header: bytes, body: bytes = b"") -> bool:
        """Append one record; False, and nothing written, when ring or spill slots are full.

        Ring the reader's doorbell afterwards, once per batch.

        Raises:
            ValueError: the body is larger than a spill slot, the header than `header_limit`, or the kind is 0.
            SharedMemoryError: this process was forked from the writer, or its generation was given up for dead.
        """
        if not kind:
            raise ValueError("kind 0 is the ring's own")
        header_length = len(header)
        body_length = len(body)
        end = _PREFIX_BYTES + header_length + body_length
        if end > self._inline_limit or header_length > self._header_limit:
            return self._push_spilled(kind, seq, header, body)
        size = (end + _ROUND_UP) & _ROUND_MASK
        if self._tail + size > self._limit and not self._make_room(size):
            return False
        if self._segment.foreign or self._generation_word[0] != self._generation:
            self._refuse()
        tail = self._tail
        content = _pack_prefix(body_length, seq, header_length, kind, 0) + header + body
        start = self._data + (tail & self._mask)
        self._buffer[start : start + end] = crc32(content, tail + self._salt).to_bytes(4, "little") + content
        self._tail = tail = tail + size
        # SYNC POINT publish: the record before the tail; pairs with RingReader._read_ahead
        self._tail_word[0] = tail
        return True

    @property
    def tail(self) -> int:
        """Position after the last record."""
        return self._tail

    def unread_bytes(self) -> int:
        """Bytes that the reader has not acknowledged."""
        head: int = self._ring.head[0]
        return self._tail - head

    def free_bytes(self) -> int:
        """Bytes that are free; a record needs a multiple of 32, and at a lap's end a filler before it."""
        return self._mask + 1 - self.unread_bytes()

    def unread_sequences(self) -> set[int]:
        """The sequences of all records that the reader has not acknowledged (a walk over their prefixes).

        Fewer if the reader's native code overwrote the ring: never one that is not unread.
        """
        sequences: set[int] = set()
        position: int = self._ring.head[0]
        if self._tail - position > self._mask + 1 or position & _ROUND_UP:
            return sequences
        while position < self._tail:
            _, body_length, seq, header_length, kind, flags = _unpack_prefix(
                self._buffer, self._data + (position & self._mask)
            )
            if kind:
                sequences.add(seq)
                inline = SPILL_SLOT.size if flags & FLAG_SPILLED else body_length
                position += (_PREFIX_BYTES + header_length + inline + _ROUND_UP) & _ROUND_MASK
            elif body_length and not body_length & _ROUND_UP:
                position += body_length
            else:
                break
        return sequences

    def _push_spilled(self, kind: int, seq: int, header: bytes, body: bytes) -> bool:
        header_length = len(header)
        if header_length > self._header_limit:
            raise ValueError(
                f"a record's header of {header_length} bytes is too long: the limit is {self._header_limit}"
            )
        if self._segment.foreign or self._generation_word[0] != self._generation:
            self._refuse()
        end = _PREFIX_BYTES + header_length + SPILL_SLOT.size
        size = (end + _ROUND_UP) & _ROUND_MASK
        if self._tail + size > self._limit and not self._make_room(size):
            return False
        tail = self._tail
        slot = self._ring.spill.try_store(self._ring.number, tail, body)
        if slot is None:
            return False
        content = (
            _pack_prefix(len(body), seq, header_length, kind, FLAG_SPILLED) + header + SPILL_SLOT.pack(slot)
        )
        checksum = crc32(body, crc32(content, tail + self._salt))
        start = self._data + (tail & self._mask)
        self._buffer[start : start + end] = checksum.to_bytes(4, "little") + content
        self._tail = tail = tail + size
        # SYNC POINT publish: record and spilled body before the tail; pairs with RingReader._read_ahead
        self._tail_word[0] = tail
        return True

    def _make_room(self, size: int) -> bool:
        """Find `size` contiguous bytes, with a filler before them if this lap's rest is too short."""
        if self._segment.foreign:
            self._refuse()
        tail = self._tail
        capacity = self._mask + 1
        # SYNC POINT reuse: the reader's copies were made before this head; pairs with RingReader.acknowledge
        free_until = self._ring.head[0] + capacity
        lap_end = (tail & -capacity) + capacity
        if tail + size > lap_end:
            if lap_end + size > free_until:
                return False
            self._write_filler(tail, lap_end - tail)
            self._tail = lap_end  # committed together with the record that follows it
            lap_end += capacity
        elif tail + size > free_until:
            return False
        self._limit = min(lap_end, free_until)
        return True

    def _write_filler(self, tail: int, length: int) -> None:
        content = _pack_prefix(length, 0, 0, 0, 0)
        start = self._data + (tail & self._mask)
        self._buffer[start : start + _PREFIX_BYTES] = (
            crc32(content, tail + self._salt).to_bytes(4, "little") + content
        )

    def _refuse(self) -> None:
        if self._segment.foreign:
            raise SharedMemoryError(
                "the ring belongs to the parent process; a forked process cannot push to it"
            )
        raise SharedMemoryError(
            f"the ring was given to generation {self._generation_word[0]}, this writer is of "
            f"{self._generation}: its process was given up for dead and its jobs run elsewhere"
        )
