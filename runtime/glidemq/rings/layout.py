"""Where everything lies in an actor's segment. No algorithm here; those who use the offsets import them.

    page 0       byte 0   magic, layout version, the eight sizes below              written at creation,
    then constant
                    256   generation                                                gateway
                    512   spill words towards the actor, one per slot               gateway takes, actor frees
                   1024   spill words towards the gateway, one per slot             actor takes, gateway frees
    ring control          activation, reply, outbound; 512 bytes each:
                      0   tail: bytes ever written                                  the ring's writer
                    128   head: bytes acknowledged; 136: bytes read                 the ring's reader
    ledger words          one per slot: seq << 2 | state                            actor
    ledger rows           one per slot: CRC32, length, copy of the record's header  actor
    cancel words          one per seq modulo their number: seq << 2 | reason        gateway
    ring data             activation, reply, outbound; a power of two each          the ring's writer

Words of different writers are 128 bytes apart: a cache line and the one that the prefetcher pulls in with
it. Areas begin at multiples of 4096 bytes. Spilled bodies lie in two more segments, one for each direction,
slot after slot.

A record, at a multiple of 32 bytes, never wraps around the end:

    byte 0   u32  CRC32 of all that follows (a spilled body included), started from the record's position
    and generation
         4   u32  length of the body
         8   u64  sequence
        16   u16  length of the header
        18   u8   kind; 0 fills up the end of a lap, and then "length of the body" counts the bytes to skip
        19   u8   flags: 1 the body is spilled, and a u32 slot number stands in its place
        20        header, body
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass, fields
from typing import Final

from glidemq.errors import SharedMemoryError

MAGIC: Final = int.from_bytes(b"glidemqA", "little")
LAYOUT_VERSION: Final = 1
AREA: Final = 4096

GENERATION_OFFSET: Final = 256
INBOUND_SPILL_OFFSET: Final = 512
OUTBOUND_SPILL_OFFSET: Final = 1024
MAX_SPILL_SLOTS: Final = 64

CONTROL_BYTES: Final = 512
TAIL: Final = 0
HEAD: Final = 128
READ: Final = 136

RECORD_ALIGNMENT: Final = 32
RECORD_INLINE_BYTES: Final = 32 * 1024
HEADER_BYTES: Final = 8 * 1024
FLAG_SPILLED: Final = 1
PREFIX: Final = struct.Struct("<IIQHBB")
"""crc, body length, seq, header length, kind, flags."""
PREFIX_AFTER_CRC: Final = struct.Struct("<IQHBB")
SPILL_SLOT: Final = struct.Struct("<I")

_POWERS_OF_TWO: Final = {
    "activation_bytes": AREA,
    "reply_bytes": AREA,
    "outbound_bytes": AREA,
    "cancel_words": 64,
}
_HEADER: Final = struct.Struct("<10Q")
HEADER_SIZE: Final = _HEADER.size


@dataclass(frozen=True, slots=True)
class SegmentSizes:
    """The sizes of an actor's segment; stored in it, so that whoever attaches need not be told."""

    activation_bytes: int = 1 << 20
    reply_bytes: int = 1 << 20
    outbound_bytes: int = 2 << 20
    ledger_slots: int = 512
    ledger_row_bytes: int = 2048
    cancel_words: int = 8192
    spill_slots: int = 32
    spill_slot_bytes: int = 5 << 18
    """1.25 MiB: a job's data of 1 MiB and what surrounds it."""

    def __post_init__(self) -> None:
        for name, least in _POWERS_OF_TWO.items():
            value: int = getattr(self, name)
            if value < least or value & (value - 1):
                raise ValueError(f"{name} must be a power of two of at least {least}, got {value}")
        if not 1 <= self.spill_slots <= MAX_SPILL_SLOTS:
            raise ValueError(f"spill_slots must be 1..{MAX_SPILL_SLOTS}, got {self.spill_slots}")
        if self.ledger_slots < 1 or self.ledger_row_bytes < 64 or self.ledger_row_bytes % 8:
            raise ValueError("the ledger needs a slot, and rows of at least 64 bytes in multiples of 8")
        if self.spill_slot_bytes < AREA or self.spill_slot_bytes % AREA:
            raise ValueError(f"spill_slot_bytes must be a multiple of {AREA}, got {self.spill_slot_bytes}")

    def pack(self) -> bytes:
        """The constant part of page 0."""
        return _HEADER.pack(MAGIC, LAYOUT_VERSION, *astuple(self))

    @classmethod
    def unpack(cls, header: bytes) -> SegmentSizes:
        """The sizes of an existing segment.

        Raises:
            SharedMemoryError: this is no actor segment, or one of another version of the layout.
        """
        if len(header) < HEADER_SIZE:
            raise SharedMemoryError("the descriptor holds no actor segment")
        magic, version, *sizes = _HEADER.unpack_from(header)
        if magic != MAGIC:
            raise SharedMemoryError("the descriptor holds no actor segment")
        if version != LAYOUT_VERSION:
            raise SharedMemoryError(
                f"the actor segment has layout {version}, this process expects {LAYOUT_VERSION}: "
                "restart the supervisor, so that all its processes run the same release"
            )
        return cls(**dict(zip((field.name for field in fields(cls)), sizes, strict=True)))


class SegmentLayout:
    """The offsets that follow from the sizes."""

    __slots__ = (
        "activation_control",
        "activation_data",
        "cancel_words",
        "ledger_rows",
        "ledger_words",
        "outbound_control",
        "outbound_data",
        "reply_control",
        "reply_data",
        "size",
    )

    def __init__(self, sizes: SegmentSizes) -> None:
        self.activation_control = AREA
        self.reply_control = self.activation_control + CONTROL_BYTES
        self.outbound_control = self.reply_control + CONTROL_BYTES
        self.ledger_words = 2 * AREA
        self.ledger_rows = _next_area(self.ledger_words + 8 * sizes.ledger_slots)
        self.cancel_words = _next_area(self.ledger_rows + sizes.ledger_slots * sizes.ledger_row_bytes)
        self.activation_data = _next_area(self.cancel_words + 8 * sizes.cancel_words)
        self.reply_data = self.activation_data + sizes.activation_bytes
        self.outbound_data = self.reply_data + sizes.reply_bytes
        self.size = self.outbound_data + sizes.outbound_bytes


def _next_area(offset: int) -> int:
    return (offset + AREA - 1) & -AREA
