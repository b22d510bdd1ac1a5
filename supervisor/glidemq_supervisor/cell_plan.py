"""How the actor processes are spread over cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from glidemq.config import RuntimeConfig
from glidemq.errors import ConfigurationError
from glidemq.process_spec import Role
from glidemq_supervisor.affinity import CellCores, share_out
from glidemq_supervisor.process_slot import SlotAddress

# A gateway saturates near 40-50 thousand jobs a second, which this many busy actors can ask of it.
MAX_ACTORS_PER_CELL = 32


@dataclass(frozen=True, slots=True)
class CellPlan:
    """One cell: its actor slots, and how many of each role start at once; the rest is kept for SIGTTIN."""

    index: int
    cores: CellCores
    slots: tuple[SlotAddress, ...]
    at_start: int


def plan_cells(
    config: RuntimeConfig, procs: int, roles: Sequence[Role], nodes: Sequence[frozenset[int]]
) -> list[CellPlan]:
    """Lay out `procs` actors of each role. `nodes`: the usable cores of each NUMA node.

    Raises:
        ConfigurationError: a cell would have more actors than one gateway can serve.
    """
    most_per_role = MAX_ACTORS_PER_CELL // len(roles)
    cells = _number_of_cells(config, procs, most_per_role, len(nodes))
    if math.ceil(procs / cells) > most_per_role:
        raise ConfigurationError(
            f"{procs} actor processes in {cells} {'cell' if cells == 1 else 'cells'} are more than the "
            f"{most_per_role} of each kind that one gateway serves: "
            f"use --cells {math.ceil(procs / most_per_role)} or more"
        )
    reserve = max(procs, config.max_procs or 2 * procs)
    cores = share_out(cells, nodes)
    plans: list[CellPlan] = []
    for cell in range(cells):
        at_start = _share(procs, cells, cell)
        reserved = (
            1
            if config.cells == "per-core"
            else max(at_start, min(_share(reserve, cells, cell), most_per_role))
        )
        addresses = tuple(
            SlotAddress(cell, role, position * reserved + number)
            for position, role in enumerate(roles)
            for number in range(reserved)
        )
        plans.append(CellPlan(cell, cores[cell], addresses, at_start))
    return plans


def _number_of_cells(config: RuntimeConfig, procs: int, most_per_role: int, nodes: int) -> int:
    if config.cells == "per-core":
        return procs
    if config.cells == "auto":
        return min(procs, max(nodes, math.ceil(procs / most_per_role)))
    if config.cells > procs:
        raise ConfigurationError(
            f"--cells {config.cells} needs at least as many actor processes; --procs is {procs}"
        )
    return config.cells


def _share(total: int, cells: int, cell: int) -> int:
    return total // cells + (1 if cell < total % cells else 0)
