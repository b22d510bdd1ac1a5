"""The parts of an actor's segment, mapped into one process."""

from __future__ import annotations

from typing import Final

from glidemq.rings.cancel_board import CancelBoard
from glidemq.rings.layout import (
    GENERATION_OFFSET,
    HEADER_SIZE,
    INBOUND_SPILL_OFFSET,
    OUTBOUND_SPILL_OFFSET,
    SegmentLayout,
    SegmentSizes,
)
from glidemq.rings.ledger import Ledger
from glidemq.rings.spill import SpillArea
from glidemq.rings.spsc_ring import SpscRing
from glidemq.shared_memory.segment import Segment

_RESETTING: Final = 1 << 63


class SegmentParts:
    """Everything that lies in a segment, each at its offset.

    Owns: nothing. Written by: see each part; the generation by the gateway.
    Read by: the side that holds it. Stops when: the segment is closed.
    """

    __slots__ = (
        "_generation",
        "_segment",
        "_sizes",
        "activations",
        "cancels",
        "ledger",
        "outbound",
        "replies",
        "spills",
    )

    def __init__(
        self, segment: Segment, inbound_spill: Segment, outbound_spill: Segment, sizes: SegmentSizes
    ) -> None:
        layout = SegmentLayout(sizes)
        self._segment = segment
        self._sizes = sizes
        self._generation = generation = segment.words(GENERATION_OFFSET, 1)
        inbound = SpillArea(
            inbound_spill, segment.words(INBOUND_SPILL_OFFSET, sizes.spill_slots), sizes.spill_slot_bytes
        )
        outbound = SpillArea(
            outbound_spill, segment.words(OUTBOUND_SPILL_OFFSET, sizes.spill_slots), sizes.spill_slot_bytes
        )
        self.spills = (inbound, outbound)
        self.activations = SpscRing(
            segment,
            control=layout.activation_control,
            data=layout.activation_data,
            capacity=sizes.activation_bytes,
            generation=generation,
            spill=inbound,
            number=0,
        )
        self.replies = SpscRing(
            segment,
            control=layout.reply_control,
            data=layout.reply_data,
            capacity=sizes.reply_bytes,
            generation=generation,
            spill=inbound,
            number=1,
        )
        self.outbound = SpscRing(
            segment,
            control=layout.outbound_control,
            data=layout.outbound_data,
            capacity=sizes.outbound_bytes,
            generation=generation,
            spill=outbound,
            number=0,
        )
        self.ledger = Ledger(
            segment,
            words=layout.ledger_words,
            rows=layout.ledger_rows,
            slots=sizes.ledger_slots,
            row_bytes=sizes.ledger_row_bytes,
        )
        self.cancels = CancelBoard(segment, offset=layout.cancel_words, count=sizes.cancel_words)

    @property
    def generation(self) -> int:
        """The generation of actor that the rings are for, also while they are being reset for it."""
        word: int = self._generation[0]
        return word & ~_RESETTING

    @property
    def resetting(self) -> bool:
        """True if a gateway died while it emptied the segment: what lies there was accounted for."""
        return bool(self._generation[0] & _RESETTING)

    def clear(self, generation: int) -> None:
        """Empty everything; only while the actor is dead and its jobs are accounted for."""
        self._generation[0] = generation | _RESETTING
        self._segment.buffer[:HEADER_SIZE] = self._sizes.pack()  # in case native code wrote over it
        for ring in (self.activations, self.replies, self.outbound):
            ring.clear()
        self.ledger.clear()
        self.cancels.clear()
        for spill in self.spills:
            spill.clear()
        # SYNC POINT generation: emptied before it is given to the next actor; pairs with
        # ActorSegment.actor_side
        self._generation[0] = generation
