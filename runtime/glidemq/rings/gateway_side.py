"""What a gateway does with one actor's segment."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple

from glidemq.errors import RingCorruptionError
from glidemq.rings.cancel_board import CancelReason
from glidemq.rings.ledger import LedgerEntry, LedgerState
from glidemq.rings.records import OUTCOMES, Record
from glidemq.rings.ring_reader import RingReader
from glidemq.shared_memory.fence import full_fence

if TYPE_CHECKING:
    from glidemq.rings.segment_parts import SegmentParts
    from glidemq.rings.spsc_ring import SpscRing


class Harvest(NamedTuple):
    """All that a dead actor left in its segment, in flow order. No job is in two of the first three lists."""

    unread: list[Record]
    """Activations that it had not taken."""
    taken: list[LedgerEntry]
    """Taken, never started: released uncharged."""
    started: list[LedgerEntry]
    """Started, without an outcome in the ring; one that this gateway acknowledged earlier still counts."""
    outbound: list[tuple[Record, int]]
    """What this gateway has not read yet, as `read_many` gives it. Nobody waits for replies to commands."""


class GatewaySide:
    """The gateway's roles in one actor's segment.

    Owns: the writers of the inbound rings and the reader of the outbound one.
    Written by: the gateway's loop. Read by: the actor, through the rings and the cancel board.
    Stops when: the segment is closed.
    """

    __slots__ = ("_generation", "_parts", "activations", "cancels", "ledger", "outbound", "replies")

    def __init__(self, parts: SegmentParts) -> None:
        self._parts = parts
        self._generation = parts.generation
        if parts.resetting:  # an earlier gateway had harvested, and died before it was done
            parts.clear(parts.generation)
        self.activations = parts.activations.writer()
        self.replies = parts.replies.writer()
        self.outbound = parts.outbound.reader()
        self.ledger = parts.ledger
        self.cancels = parts.cancels

    @property
    def generation(self) -> int:
        """The generation of actor that the rings are for."""
        return self._parts.generation

    def cancel(self, seq: int, reason: CancelReason) -> None:
        """Set the cancel word of an activation that may be running; the actor sees it at its next look."""
        self.cancels.cancel(seq, reason)

    def take_back(
        self, sequences: Collection[int], reason: CancelReason = CancelReason.TAKE_BACK
    ) -> set[int]:
        """Cancel activations, and return those of them that are certain never to start.

        Of the others a record will come: an outcome, or SKIPPED from an actor that saw the word in time.
        A SKIPPED record may also come for those returned.
        """
        for seq in sequences:
            self.cancels.cancel(seq, reason)
        # SYNC POINT start: the cancel words before the looks; pairs with ActorSide.start
        full_fence()
        # The ring first: what leaves it after this look is TAKEN already, and finds its cancel word.
        unread = self.activations.unread_sequences()
        states = self.ledger.states()
        return {seq for seq in sequences if seq in unread or states.get(seq) == LedgerState.TAKEN}

    def survey(self) -> dict[int, bytes]:
        """seq → header of every activation in a living actor's hands, for a gateway that takes over.

        In flow order, so that a job that moves meanwhile is seen at least once: first what the actor has
        not taken, then its ledger. Those with an outcome are in the outbound ring, to be read afterwards.
        Fewer if the actor's native code overwrote the ring: it cannot start them either.
        """
        found: dict[int, bytes] = {}
        with contextlib.suppress(RingCorruptionError):
            for record in _look(self._parts.activations):
                found[record.seq] = record.header
        for entry in self.ledger.entries():
            if entry.header is not None:
                found[entry.seq] = entry.header
        return found

    def harvest(self) -> Harvest:
        """Collect what a dead actor left, after it was reaped.

        The caller accounts for all of it at the server, then calls `reset`. Until then nothing is lost: a gateway
        that takes over finds the same.

        Raises:
            RingCorruptionError: the actor's native code overwrote its ring; the jobs must come from the
            gateway's memory.
        """
        entries = self.ledger.entries()
        # The ledger first: an actor pushes its outcome before it frees the slot.
        outcomes = {record.seq for record in _look(self._parts.outbound) if record.kind in OUTCOMES}
        in_ledger = {entry.seq for entry in entries}
        unread = [record for record in _look(self._parts.activations) if record.seq not in in_ledger]
        pending = [entry for entry in entries if entry.seq not in outcomes]
        outbound: list[tuple[Record, int]] = []
        while items := self.outbound.read_many(256):
            outbound += items
        return Harvest(
            unread,
            [entry for entry in pending if entry.state == LedgerState.TAKEN],
            [entry for entry in pending if entry.state == LedgerState.STARTED],
            outbound,
        )

    def reset(self, generation: int) -> None:
        """Empty everything for the next generation of actor, after the harvest was accounted for.

        Safe to repeat: a gateway that died between this and saying so on the status board is succeeded by one that
        finds nothing to harvest and resets to the same generation again.

        Raises:
            ValueError: the generation is lower than the present one.
        """
        # Not by the word in the segment, which the actor's native code may have overwritten.
        if generation < self._generation:
            raise ValueError(f"generation {generation} does not follow {self._generation}")
        self._parts.clear(generation)
        self._generation = generation
        self.activations.resume()
        self.replies.resume()
        self.outbound.resume()


def _look(ring: SpscRing) -> Iterator[Record]:
    """All records of a ring that are not acknowledged, without taking any."""
    observer = RingReader(ring, observing=True)
    while items := observer.read_many(16):  # few: each may carry a spilled body
        for record, _ in items:
            yield record
