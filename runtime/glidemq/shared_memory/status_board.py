"""The pages on which the processes of a cell show their state and are told what to do."""

from __future__ import annotations

import os

from glidemq.shared_memory.segment import Segment
from glidemq.shared_memory.status_slot import SLOT_BYTES, StatusSlot

GATEWAY_SLOT = 0


class StatusBoard:
    """One page per process of a cell: page 0 is the gateway's, page n that of actor n - 1.

    Supervisor and gateway map all pages. An actor maps its own, and the gateway's for reading: native code
    that runs wild in an actor cannot falsify what another process says.

    Owns: its mappings, and the descriptor in the process that created it.
    Written by: each word by one process, see `StatusSlot`. Read by: supervisor, gateway, console.
    Stops when: closed.
    """

    def __init__(self, pages: dict[int, Segment], slots: int) -> None:
        self._segments = list(dict.fromkeys(pages.values()))
        self._slots = {
            index: StatusSlot(page, index * SLOT_BYTES if page.size > SLOT_BYTES or slots == 1 else 0)
            for index, page in pages.items()
        }
        self.slots = slots
        """Number of pages, the gateway's included."""

    @classmethod
    def create(cls, actors: int, *, name: str = "glidemq-status") -> StatusBoard:
        """Make the board of a cell with `actors` actor processes (supervisor, before any fork).

        Raises:
            SharedMemoryError: memory or descriptors are short, or this is not Linux.
        """
        slots = actors + 1
        return cls(dict.fromkeys(range(slots), Segment.create(slots * SLOT_BYTES, name=name)), slots)

    @classmethod
    def attach(cls, fd: int) -> StatusBoard:
        """Map all pages (gateway, console)."""
        slots = os.fstat(fd).st_size // SLOT_BYTES
        return cls(dict.fromkeys(range(slots), Segment.attach(fd, slots * SLOT_BYTES)), slots)

    @classmethod
    def attach_actor(cls, fd: int, index: int) -> StatusBoard:
        """Map page `index` (1 and up) for an actor, and the gateway's page for reading."""
        slots = os.fstat(fd).st_size // SLOT_BYTES
        if not 1 <= index < slots:
            raise ValueError(f"an actor's slot is 1..{slots - 1}, got {index}")
        own = Segment.attach(fd, SLOT_BYTES, offset=index * SLOT_BYTES)
        gateway = Segment.attach(fd, SLOT_BYTES, writable=False)
        return cls({GATEWAY_SLOT: gateway, index: own}, slots)

    @property
    def fd(self) -> int:
        """The descriptor that children inherit and attach to."""
        return self._segments[0].fd

    def slot(self, index: int) -> StatusSlot:
        """The page of process `index`.

        Raises:
            ValueError: this process does not map that page.
        """
        slot = self._slots.get(index)
        if slot is None:
            raise ValueError(f"slot {index} of {self.slots} is not mapped by this process")
        return slot

    @property
    def gateway(self) -> StatusSlot:
        """The gateway's page."""
        return self.slot(GATEWAY_SLOT)

    def close(self) -> None:
        """Release the mappings, and the descriptor where it was created. Safe to call twice."""
        for segment in self._segments:
            segment.close()
        self._slots.clear()
