"""Adding and removing actor processes while the supervisor runs (SIGTTIN, SIGTTOU)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from glidemq.process_spec import Crew
from glidemq_supervisor.cell import Cell
from glidemq_supervisor.process_slot import ProcessSlot

log = logging.getLogger("glidemq.supervisor")


class Scaling:
    """Turns a signal into one actor process more or fewer of each crew, within the slots reserved."""

    def __init__(self, cells: Sequence[Cell], crews: Sequence[Crew]) -> None:
        self._cells = cells
        self._crews = crews

    def start(self, now: float) -> None:
        """Want the processes that the plan starts with."""
        for cell in self._cells:
            cell.gateway.want(now)
            for crew in self._crews:
                for slot in self._of(cell, crew)[: cell.plan.at_start[crew]]:
                    slot.want(now)

    def more(self, now: float) -> None:
        """One actor process more of each crew, in the cell that has the fewest."""
        for crew in self._crews:
            cells = [cell for cell in self._cells if self._vacant(cell, crew)]
            if not cells:
                log.warning(
                    "all %d slots for %s actors are in use: raise --max-procs",
                    self._reserved(crew),
                    crew.label,
                )
                continue
            slot = self._vacant(self._fewest(cells, crew), crew)[0]
            slot.want(now)
            log.info("adding %s: %d %s actors from now on", slot.label, self.count(crew), crew.label)

    def fewer(self) -> None:
        """One actor process fewer of each crew, from the cell that has the most; it finishes what it runs."""
        for crew in self._crews:
            if self.count(crew) <= 1:
                log.warning("the last %s actor stays: stop the supervisor with SIGTERM instead", crew.label)
                continue
            slot = [slot for slot in self._of(self._most(crew), crew) if slot.wanted][-1]
            slot.retire()
            log.info(
                "removing %s once it has finished: %d %s actors from now on",
                slot.label,
                self.count(crew),
                crew.label,
            )

    def count(self, crew: Crew) -> int:
        """Actor processes of this crew that there are or are to be."""
        return sum(self._wanted(cell, crew) for cell in self._cells)

    def _fewest(self, cells: Sequence[Cell], crew: Crew) -> Cell:
        return min(cells, key=lambda cell: self._wanted(cell, crew))

    def _most(self, crew: Crew) -> Cell:
        return max(self._cells, key=lambda cell: self._wanted(cell, crew))

    def _of(self, cell: Cell, crew: Crew) -> list[ProcessSlot]:
        return [slot for slot in cell.actors if slot.address.crew == crew]

    def _wanted(self, cell: Cell, crew: Crew) -> int:
        return sum(slot.wanted for slot in self._of(cell, crew))

    def _vacant(self, cell: Cell, crew: Crew) -> list[ProcessSlot]:
        return [slot for slot in self._of(cell, crew) if not slot.wanted]

    def _reserved(self, crew: Crew) -> int:
        return sum(len(self._of(cell, crew)) for cell in self._cells)
