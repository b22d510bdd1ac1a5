"""What an actor process does with its segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from glidemq.rings.records import Record
from glidemq.shared_memory.fence import light_fence

if TYPE_CHECKING:
    from glidemq.rings.segment_parts import SegmentParts


class TakenActivation(NamedTuple):
    """An activation in this actor's hands."""

    slot: int
    record: Record


class ActorSide:
    """The actor's roles in its segment.

    Owns: the readers of the inbound rings, the writer of the outbound one, the ledger.
    Written by: the loop that runs the jobs. Read by: the gateway.
    Stops when: the segment is closed, or the gateway raised the generation.
    """

    __slots__ = ("activations", "cancels", "generation", "ledger", "outbound", "replies")

    def __init__(self, parts: SegmentParts) -> None:
        self.generation = parts.generation
        self.activations = parts.activations.reader()
        self.replies = parts.replies.reader()
        self.outbound = parts.outbound.writer()
        self.ledger = parts.ledger
        self.cancels = parts.cancels

    def take_activations(self, limit: int) -> list[TakenActivation]:
        """Up to `limit` activations, each written into the ledger before it leaves the ring."""
        limit = min(limit, self.ledger.free_slots())
        if limit <= 0:
            return []
        items = self.activations.read_many(limit)
        if not items:
            return []
        ledger = self.ledger
        taken: list[TakenActivation] = []
        for record, _ in items:
            slot = ledger.acquire()
            assert slot is not None, "limited by free_slots"
            ledger.take(slot, record.seq, record.header)
            taken.append(TakenActivation(slot, record))
        # SYNC POINT handover: TAKEN before the head; pairs with GatewaySide.take_back and harvest
        self.activations.acknowledge(items[-1][1])
        return taken

    def start(self, activation: TakenActivation) -> int:
        """Say that the job starts, then look whether it was cancelled: 0 means run it.

        Any other answer is a `CancelReason`: do not run it, push SKIPPED with its header, then `finish` it.
        """
        slot, record = activation
        self.ledger.start(slot)
        # SYNC POINT start: STARTED before the look at the cancel word; pairs with GatewaySide.take_back
        light_fence()
        return self.cancels.reason_for(record.seq)

    def finish(self, activation: TakenActivation) -> None:
        """Free the job's place in the ledger, after its outcome was pushed."""
        self.ledger.free(activation.slot)
