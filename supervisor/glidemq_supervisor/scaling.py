"""Adding and removing actor processes while the supervisor runs (SIGTTIN, SIGTTOU)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from glidemq.process_spec import Role
from glidemq_supervisor.cell import Cell
from glidemq_supervisor.process_slot import ProcessSlot

log = logging.getLogger("glidemq.supervisor")


class Scaling:
    """Turns a signal into one actor process more or fewer of each role, within the slots reserved."""

    def __init__(self, cells: Sequence[Cell], roles: Sequence[Role]) -> None:
        self._cells = cells
        self._roles = roles

    def start(self, now: float) -> None:
        """Want the processes that the plan starts with."""
        for cell in self._cells:
            cell.gateway.want(now)
            for role in self._roles:
                for slot in self._of(cell, role)[: cell.plan.at_start]:
                    slot.want(now)

    def more(self, now: float) -> None:
        """One actor process more of each role, in the cell that has the fewest."""
        for role in self._roles:
            cells = [cell for cell in self._cells if self._vacant(cell, role)]
            if not cells:
                log.warning(
                    "all %d slots for %s actors are in use: raise --max-procs", self._reserved(role), role
                )
                continue
            slot = self._vacant(self._fewest(cells, role), role)[0]
            slot.want(now)
            log.info("adding %s: %d %s actors from now on", slot.label, self.count(role), role)

    def fewer(self) -> None:
        """One actor process fewer of each role, from the cell that has the most; it finishes what it runs."""
        for role in self._roles:
            if self.count(role) <= 1:
                log.warning("the last %s actor stays: stop the supervisor with SIGTERM instead", role)
                continue
            slot = [slot for slot in self._of(self._most(role), role) if slot.wanted][-1]
            slot.retire()
            log.info(
                "removing %s once it has finished: %d %s actors from now on",
                slot.label,
                self.count(role),
                role,
            )

    def count(self, role: Role) -> int:
        """Actor processes of this role that there are or are to be."""
        return sum(self._wanted(cell, role) for cell in self._cells)

    def _fewest(self, cells: Sequence[Cell], role: Role) -> Cell:
        return min(cells, key=lambda cell: self._wanted(cell, role))

    def _most(self, role: Role) -> Cell:
        return max(self._cells, key=lambda cell: self._wanted(cell, role))

    def _of(self, cell: Cell, role: Role) -> list[ProcessSlot]:
        return [slot for slot in cell.actors if slot.address.role == role]

    def _wanted(self, cell: Cell, role: Role) -> int:
        return sum(slot.wanted for slot in self._of(cell, role))

    def _vacant(self, cell: Cell, role: Role) -> list[ProcessSlot]:
        return [slot for slot in self._of(cell, role) if not slot.wanted]

    def _reserved(self, role: Role) -> int:
        return sum(len(self._of(cell, role)) for cell in self._cells)
