"""Actor processes by way of the zygote."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from glidemq_supervisor.cell import Cell
from glidemq_supervisor.descriptors import DescriptorLedger
from glidemq_supervisor.forker import ChildSetup
from glidemq_supervisor.process_slot import Phase, ProcessSlot
from glidemq_supervisor.zygote_client import ForkAnswer, ZygoteClient

log = logging.getLogger("glidemq.supervisor")

RETRY_S = 1.0


class PreloadedForks:
    """Requests to the zygote in use, and answers from it and from those it has replaced.

    Owns: their sockets. Stops when: closed, which ends the zygotes.
    """

    def __init__(self, descriptors: DescriptorLedger) -> None:
        self._descriptors = descriptors
        self._current: ZygoteClient | None = None
        self._retiring: list[ZygoteClient] = []
        self.cells: Sequence[Cell] = ()

    def use(self, zygote: ZygoteClient) -> None:
        """Ask this one from now on; what another was asked, it still answers."""
        if self._current is not None:
            self._current.retire()
            self._retiring.append(self._current)
        self._current = zygote
        self._descriptors.record(zygote.fileno())

    def filenos(self) -> Iterator[int]:
        """Readable when there are answers."""
        for zygote in self._all():
            yield zygote.fileno()

    def ask(self, cell: Cell, slot: ProcessSlot, setup: ChildSetup, app_epoch: int, now: float) -> None:
        """Ask for a process; does nothing while a new zygote is on its way."""
        if self._current is None:
            return
        crew = slot.address.crew
        assert crew is not None, "gateways are not forked from a zygote"
        slot.begin(app_epoch)
        memory, index = cell.arena.memory, slot.address.index
        members = {
            "cell": slot.address.cell,
            "slot": index,
            "slots": len(cell.actors),
            "pool": crew.pool,
            "role": crew.role,
            "generation": slot.generation,
            "name": setup.name,
            "cpus": None if setup.cpus is None else sorted(setup.cpus),
        }
        descriptors = (
            memory.board, memory.actor_bells[index], memory.gateway_bell, memory.supervisor_bell,
            *memory.actor_segments[index],
        )  # fmt: skip
        if self._current.request(_key_of(slot), members, descriptors):
            slot.phase = Phase.FORKING
        else:
            slot.abandon_fork(now + RETRY_S)

    def receive(self, now: float) -> None:
        """Learn the pids of processes that have been forked; to be called before anybody is reaped."""
        for zygote in self._all():
            for answer in zygote.receive():
                self._adopt(answer, now)
            if zygote.lost:
                for key in zygote.pending:
                    self._slot_of(key).abandon_fork(now)
                self._forget(zygote)

    def close(self) -> None:
        for zygote in self._all():
            self._forget(zygote)

    def _adopt(self, answer: ForkAnswer, now: float) -> None:
        slot = self._slot_of(answer.key)
        if answer.pid is None:
            log.error("the app zygote could not fork %s; trying again in %g s", slot.label, RETRY_S)
            slot.abandon_fork(now + RETRY_S)
            return
        slot.forked(answer.pid, now)
        log.info("%s started (pid %d)", slot.label, answer.pid)
        if not slot.wanted:  # it was removed while the zygote was at it
            slot.drain()

    def _slot_of(self, key: str) -> ProcessSlot:
        cell, index = map(int, key.split(":")[:2])
        return self.cells[cell].actors[index]

    def _all(self) -> list[ZygoteClient]:
        return [*self._retiring, *([] if self._current is None else [self._current])]

    def _forget(self, zygote: ZygoteClient) -> None:
        if zygote is self._current:
            self._current = None
        else:
            self._retiring.remove(zygote)
        self._descriptors.forget(zygote.fileno())
        zygote.close()


def _key_of(slot: ProcessSlot) -> str:
    return f"{slot.address.cell}:{slot.address.index}:{slot.generation}"
