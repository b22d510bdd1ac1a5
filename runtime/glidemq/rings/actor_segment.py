"""All shared memory between a gateway and one actor process."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from glidemq.errors import SharedMemoryError
from glidemq.rings.actor_side import ActorSide
from glidemq.rings.gateway_side import GatewaySide
from glidemq.rings.layout import GENERATION_OFFSET, HEADER_SIZE, SegmentLayout, SegmentSizes
from glidemq.rings.segment_parts import SegmentParts
from glidemq.shared_memory.segment import Segment


class ActorSegment:
    """Three memory files of one actor's slot: rings with ledger and cancel board, and a spill area each way.

    The supervisor creates them before any fork and maps none; gateway and actor attach by the inherited
    descriptors. They outlive both: a new gateway goes on from the acknowledged cursors, a new actor finds
    the segment emptied.

    Owns: its mappings, and the descriptors in the process that created it.
    Written by: gateway and actor, each in its own words. Read by: the other.
    Stops when: closed.
    """

    __slots__ = ("_inbound_spill", "_outbound_spill", "_parts", "_segment", "_sides", "sizes")

    def __init__(
        self, segment: Segment, inbound_spill: Segment, outbound_spill: Segment, sizes: SegmentSizes
    ) -> None:
        self._segment = segment
        self._inbound_spill = inbound_spill
        self._outbound_spill = outbound_spill
        self._parts: SegmentParts | None = None
        self._sides: set[str] = set()
        self.sizes = sizes

    @classmethod
    def create(
        cls, sizes: SegmentSizes | None = None, *, generation: int = 1, name: str = "glidemq-actor"
    ) -> ActorSegment:
        """Allocate an actor's memory (supervisor, before any fork).

        The pages come from the NUMA node that the calling thread runs on.

        Raises:
            SharedMemoryError: memory or descriptors are short, or this is not Linux.
        """
        sizes = sizes or SegmentSizes()
        created: list[Segment] = []
        try:
            segment = Segment.create(SegmentLayout(sizes).size, name=name)
            created.append(segment)
            spill_bytes = sizes.spill_slots * sizes.spill_slot_bytes
            created.append(Segment.create(spill_bytes, name=f"{name}-in", sparse=True))
            created.append(Segment.create(spill_bytes, name=f"{name}-out", sparse=True))
        except SharedMemoryError:
            for segment in created:
                segment.close()
            raise
        # By descriptor, so that the supervisor maps nothing.
        segment.write_at(GENERATION_OFFSET, struct.pack("=Q", generation))
        segment.write_at(0, sizes.pack())
        return cls(segment, created[1], created[2], sizes)

    @classmethod
    def attach(cls, fds: Sequence[int]) -> ActorSegment:
        """Use a segment by its inherited descriptors (those of `fds()`), which stay the caller's to close.

        Raises:
            SharedMemoryError: they hold no actor segment of this release.
        """
        if len(fds) != 3:
            raise SharedMemoryError(f"an actor segment has 3 descriptors, got {len(fds)}")
        try:
            sizes = SegmentSizes.unpack(os.pread(fds[0], HEADER_SIZE, 0))
        except OSError as error:
            raise SharedMemoryError(
                f"descriptor {fds[0]} holds no actor segment: {error.strerror}"
            ) from error
        spill_bytes = sizes.spill_slots * sizes.spill_slot_bytes
        return cls(
            Segment.attach(fds[0], SegmentLayout(sizes).size),
            Segment.attach(fds[1], spill_bytes),
            Segment.attach(fds[2], spill_bytes),
            sizes,
        )

    def fds(self) -> tuple[int, int, int]:
        """The descriptors to inherit: rings, spill towards the actor, spill towards the gateway."""
        return self._segment.fd, self._inbound_spill.fd, self._outbound_spill.fd

    def gateway_side(self) -> GatewaySide:
        """Become the gateway of this segment; once per process.

        Raises:
            SharedMemoryError: this process is already, or was forked from one that attached.
        """
        return GatewaySide(self._take_side("gateway"))

    def actor_side(self, generation: int | None = None) -> ActorSide:
        """Become the actor of this segment; once per process.

        Args:
            generation: the one this process was forked as; refused unless the gateway has prepared the
            segment for it.

        Raises:
            SharedMemoryError: as above, or the jobs of an earlier actor are not yet accounted for.
        """
        parts = self._take_side("actor")
        # SYNC POINT generation: emptied before this look; pairs with SegmentParts.clear
        if parts.resetting or (generation is not None and generation != parts.generation):
            raise SharedMemoryError(
                f"the segment is prepared for actor generation {parts.generation}, this is {generation}: "
                "the gateway has not yet accounted for the earlier actor's jobs"
            )
        return ActorSide(parts)

    def close(self) -> None:
        """Release mappings, and the descriptors where they were created. Safe to call twice."""
        for segment in (self._segment, self._inbound_spill, self._outbound_spill):
            segment.close()

    def _take_side(self, side: str) -> SegmentParts:
        self._segment.check_usable()
        if self._parts is None:
            self._parts = SegmentParts(self._segment, self._inbound_spill, self._outbound_spill, self.sizes)
        if side in self._sides:
            raise SharedMemoryError(f"this process is already the {side} of this segment")
        self._sides.add(side)
        return self._parts
