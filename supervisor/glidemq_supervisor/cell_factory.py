"""Building the cells once the app is known: their plan, their memory, their names."""

from __future__ import annotations

import os
import secrets
import socket

from glidemq.config import RuntimeConfig
from glidemq_supervisor.affinity import numa_nodes
from glidemq_supervisor.arena import Arena
from glidemq_supervisor.cell import Cell
from glidemq_supervisor.cell_plan import CellPlan, plan_cells
from glidemq_supervisor.cpu_count import usable_cores
from glidemq_supervisor.descriptors import DescriptorLedger
from glidemq_supervisor.manifest import Manifest, sizes_of


def plan_for(config: RuntimeConfig, manifest: Manifest) -> list[CellPlan]:
    """The layout that this machine, this configuration and this app lead to. Raises ConfigurationError."""
    nodes = numa_nodes(frozenset(os.sched_getaffinity(0)))
    return plan_cells(config, sizes_of(config, manifest, usable_cores()), nodes)


def build_cells(
    config: RuntimeConfig, manifest: Manifest, supervisor_bell: int, descriptors: DescriptorLedger
) -> list[Cell]:
    """Cells with their memory, ready for forks. Raises ConfigurationError and SharedMemoryError."""
    # Unique for this start of the supervisor, whatever host names and pids are used again.
    boot = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return [
        Cell(plan, Arena(len(plan.slots), plan.cores, supervisor_bell, descriptors), f"{boot}-{plan.index}")
        for plan in plan_for(config, manifest)
    ]
