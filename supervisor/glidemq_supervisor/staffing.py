"""Forking a process into every slot that awaits one."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from glidemq.config import RuntimeConfig
from glidemq.process_spec import Crew
from glidemq_supervisor.cell import Cell
from glidemq_supervisor.entry_points import EntryPoints
from glidemq_supervisor.forker import Forker
from glidemq_supervisor.manifest import Manifest, crews_of
from glidemq_supervisor.preloaded_forks import RETRY_S, PreloadedForks
from glidemq_supervisor.process_slot import Phase, ProcessSlot

log = logging.getLogger("glidemq.supervisor")


class Staffing:
    """Fills slots, by a fork of its own or, with `--preload`, by way of the zygote.

    Written by: whoever learns about the app; `config`, `manifest` and `app_epoch` are for the processes to
    come. Read by: the supervisor's loop.
    """

    def __init__(
        self, config: RuntimeConfig, entry_points: EntryPoints, forker: Forker, preloaded: PreloadedForks
    ) -> None:
        self.config = config
        self._entry_points = entry_points
        self._forker = forker
        self._preloaded = preloaded
        self.cells: Sequence[Cell] = ()
        self.manifest: Manifest = {}
        self.app_epoch = 1  # rises with every reload of the app

    @property
    def crews(self) -> list[Crew]:
        """The kinds of actors that can be run: those that the app had at the start, whatever it has now."""
        if not self.cells:  # nothing is laid out yet: the first load is the one to go by
            return crews_of(self.manifest)
        return [
            slot.address.crew for cell in self.cells for slot in cell.actors if slot.address.crew is not None
        ]

    def fill(self, now: float) -> None:
        """Fork for every slot whose time has come and whose last process has been accounted for."""
        for cell in self.cells:
            for slot in cell.slots:
                if (
                    slot.phase is Phase.WAITING
                    and slot.due <= now
                    and (slot.address.is_gateway or slot.harvested)
                ):
                    self._fork(cell, slot, now)

    def next_due(self, now: float) -> float | None:
        """When `fill` has something to do, apart from harvests, which ring the supervisor's bell."""
        due = [
            slot.due
            for cell in self.cells
            for slot in cell.slots
            if slot.phase is Phase.WAITING and slot.due > now
        ]
        return min(due, default=None)

    def _fork(self, cell: Cell, slot: ProcessSlot, now: float) -> None:
        setup = cell.setup_of(slot, self.config)
        if self.config.preload and not slot.address.is_gateway:
            self._preloaded.ask(cell, slot, setup, self.app_epoch, now)
            return
        slot.begin(self.app_epoch)
        supervisor_pid = os.getpid()
        try:
            if slot.address.is_gateway:
                gateway = cell.gateway_spec(self.config, self.manifest, supervisor_pid)
                pid = self._forker.fork(self._entry_points.gateway, gateway, setup)
            else:
                actor = cell.actor_spec(slot, self.config, supervisor_pid)
                pid = self._forker.fork(self._entry_points.actor, actor, setup)
        except OSError as error:  # EAGAIN, ENOMEM: the machine is short of processes or memory now
            log.error("cannot fork %s: %s; trying again in %g s", slot.label, error.strerror, RETRY_S)
            slot.abandon_fork(now + RETRY_S)
            return
        slot.forked(pid, now)
        log.info("%s started (pid %d)", slot.label, pid)
