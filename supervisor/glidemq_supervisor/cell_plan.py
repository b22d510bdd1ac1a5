"""How the actor processes are spread over cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from glidemq.config import RuntimeConfig
from glidemq.errors import ConfigurationError
from glidemq.process_spec import Crew
from glidemq_supervisor.affinity import CellCores, share_out
from glidemq_supervisor.process_slot import SlotAddress

# A gateway saturates near 40-50 thousand jobs a second, which this many busy actors can ask of it.
MAX_ACTORS_PER_CELL = 32


@dataclass(frozen=True, slots=True)
class CellPlan:
    """One cell: its actor slots, and how many of each crew start at once; the rest is kept for SIGTTIN."""

    index: int
    cores: CellCores
    slots: tuple[SlotAddress, ...]
    at_start: Mapping[Crew, int]


def plan_cells(
    config: RuntimeConfig, sizes: Mapping[Crew, int], nodes: Sequence[frozenset[int]]
) -> list[CellPlan]:
    """Lay out crews of these sizes. `nodes`: the usable cores of each NUMA node.

    Raises:
        ConfigurationError: a cell would have more actors than one gateway can serve.
    """
    cells = _number_of_cells(config, sizes, len(nodes))
    starts = _spread(sizes, cells)
    fullest = max(sum(start.values()) for start in starts)
    if fullest > MAX_ACTORS_PER_CELL:
        raise ConfigurationError(
            f"{sum(sizes.values())} actor processes in {cells} {'cell' if cells == 1 else 'cells'} are more than the "
            f"{MAX_ACTORS_PER_CELL} that one gateway serves: use --cells {_cells_needed(sizes)} or more"
        )
    reserves = _spread({crew: _reserve(config, size) for crew, size in sizes.items()}, cells)
    cores = share_out(cells, nodes)
    return [
        CellPlan(cell, cores[cell], _slots(cell, start, reserve), start)
        for cell, (start, reserve) in enumerate(zip(starts, reserves, strict=True))
    ]


def _slots(cell: int, start: Mapping[Crew, int], reserve: Mapping[Crew, int]) -> tuple[SlotAddress, ...]:
    """Slots for what starts, and in reserve as many of each crew as one gateway can serve."""
    spare = (MAX_ACTORS_PER_CELL - sum(start.values())) // len(start)
    crews = [
        crew for crew, count in start.items() for _ in range(max(count, min(reserve[crew], count + spare)))
    ]
    return tuple(SlotAddress(cell, crew, index) for index, crew in enumerate(crews))


def _reserve(config: RuntimeConfig, size: int) -> int:
    return size if config.cells == "per-core" else max(size, config.max_procs or 2 * size)


def _number_of_cells(config: RuntimeConfig, sizes: Mapping[Crew, int], nodes: int) -> int:
    largest = max(sizes.values())
    if config.cells == "per-core":
        return largest
    if config.cells == "auto":
        return min(sum(sizes.values()), max(min(nodes, largest), _cells_needed(sizes)))
    if config.cells > largest:
        raise ConfigurationError(
            f"--cells {config.cells} needs at least as many actor processes; --procs is {largest}"
        )
    return config.cells


def _cells_needed(sizes: Mapping[Crew, int]) -> int:
    return math.ceil(sum(sizes.values()) / MAX_ACTORS_PER_CELL)


def _spread(totals: Mapping[Crew, int], cells: int) -> list[dict[Crew, int]]:
    """Each cell's share of each total; what does not divide goes round, so that no cell gets all remainders."""
    shares: list[dict[Crew, int]] = [{} for _ in range(cells)]
    first = 0
    for crew, total in totals.items():
        for cell in range(cells):
            shares[cell][crew] = total // cells + (1 if (cell - first) % cells < total % cells else 0)
        first += total
    return shares
