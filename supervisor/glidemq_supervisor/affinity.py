"""Which cell and which process runs on which cores."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

NODE_DIRECTORY = Path("/sys/devices/system/node")


@dataclass(frozen=True, slots=True)
class CellCores:
    """The cores of one cell."""

    cpus: frozenset[int]
    is_part: bool  # False: all cores that the supervisor may use, so that nothing needs to be pinned

    def for_actor(self, slot: int, *, pin: bool) -> frozenset[int] | None:
        """The cores for the actor in `slot`; None leaves it where it is."""
        if pin:
            ordered = sorted(self.cpus)
            return frozenset({ordered[slot % len(ordered)]})
        return self.cpus if self.is_part else None

    def for_gateway(self) -> frozenset[int] | None:
        """The gateway floats over its cell's cores: it must never wait behind one pinned, CPU-bound actor."""
        return self.cpus if self.is_part else None


def parse_cpu_list(text: str) -> frozenset[int]:
    """`"0-3,8"` → {0, 1, 2, 3, 8}, the kernel's list format."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def numa_nodes(allowed: frozenset[int], directory: Path = NODE_DIRECTORY) -> list[frozenset[int]]:
    """The usable cores of each NUMA node that has any; one node when the machine does not say."""
    nodes: list[frozenset[int]] = []
    for path in sorted(directory.glob("node[0-9]*"), key=lambda path: int(path.name[4:])):
        with contextlib.suppress(OSError, ValueError):
            cpus = parse_cpu_list((path / "cpulist").read_text()) & allowed
            if cpus:
                nodes.append(cpus)
    return nodes or [allowed]


def share_out(cells: int, nodes: Sequence[frozenset[int]]) -> list[CellCores]:
    """Cores for each of `cells` cells: whole nodes as far as they go, so that a cell's memory is local to it.

    Fewer cells than nodes: a cell spans several. More: the cells of a node split its cores, and share them
    once there are more cells than cores.
    """
    if cells <= len(nodes):
        groups = [nodes[index::cells] for index in range(cells)]
        return [CellCores(frozenset[int]().union(*group), is_part=cells > 1) for group in groups]
    cores: list[CellCores] = []
    for cell in range(cells):
        node = sorted(nodes[cell % len(nodes)])
        sharers = len(range(cell % len(nodes), cells, len(nodes)))
        position = cell // len(nodes)
        mine = node[position::sharers] if sharers <= len(node) else [node[position % len(node)]]
        cores.append(CellCores(frozenset(mine), is_part=len(nodes) > 1))
    return cores


@contextlib.contextmanager
def allocating_on(cores: CellCores) -> Generator[None]:
    """Run the block on the cell's cores: the kernel places pages on the node of the core that first touches
    them."""
    if not cores.is_part:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores.cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
