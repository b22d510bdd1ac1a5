"""The shared memory and the bells of one cell, made before any of its processes is forked."""

from __future__ import annotations

import os

from glidemq.process_spec import CellMemory
from glidemq.rings.actor_segment import ActorSegment
from glidemq.shared_memory import Doorbell, StatusBoard
from glidemq_supervisor.affinity import CellCores, allocating_on
from glidemq_supervisor.descriptors import DescriptorLedger


class Arena:
    """A status board, a segment for each actor slot, and an eventfd for each sleeper.

    The supervisor maps the status board alone. Owns: all descriptors of `memory` but the supervisor's bell.
    Stops when: closed; the memory itself lives until the last process that inherited it has ended.
    """

    def __init__(
        self, actors: int, cores: CellCores, supervisor_bell: int, descriptors: DescriptorLedger
    ) -> None:
        self._descriptors = descriptors
        with allocating_on(cores):
            self.board = StatusBoard.create(actors)
            self._segments = [ActorSegment.create() for _ in range(actors)]
        self._bells = [Doorbell.create_fd() for _ in range(actors + 1)]
        self.memory = CellMemory(
            board=self.board.fd,
            actor_segments=tuple(segment.fds() for segment in self._segments),
            actor_bells=tuple(self._bells[1:]),
            gateway_bell=self._bells[0],
            supervisor_bell=supervisor_bell,
        )
        descriptors.record(*self._owned())

    def _owned(self) -> list[int]:
        memory = self.memory
        return [
            memory.board,
            memory.gateway_bell,
            *memory.actor_bells,
            *(fd for fds in memory.actor_segments for fd in fds),
        ]

    def bell(self, board_slot: int) -> Doorbell:
        """The bell of the process in slot `board_slot` of the status board (0: the gateway)."""
        return self.board.slot(board_slot).bell(self._bells[board_slot])

    def needed_by_gateway(self) -> frozenset[int]:
        """Everything in the cell."""
        return frozenset(self._owned()) | {self.memory.supervisor_bell}

    def needed_by_actor(self, index: int) -> frozenset[int]:
        """Its own memory and bell, the board, and the bells of those it talks to."""
        memory = self.memory
        return frozenset(
            {
                memory.board,
                *memory.actor_segments[index],
                memory.actor_bells[index],
                memory.gateway_bell,
                memory.supervisor_bell,
            }
        )

    def close(self) -> None:
        """Release mapping and descriptors. Safe to call twice."""
        self._descriptors.forget(*self._owned())
        self.board.close()
        for segment in self._segments:
            segment.close()
        for bell in self._bells:
            os.close(bell)
        self._bells.clear()
