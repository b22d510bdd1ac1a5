"""Ending everything in order, whatever is still running, within bounds."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from glidemq.process_spec import EXIT_FAILED, EXIT_OK
from glidemq.shared_memory import KillReason, ProcessState
from glidemq_supervisor.cell import Cell
from glidemq_supervisor.process_slot import Phase, ProcessSlot

log = logging.getLogger("glidemq.supervisor")


class Stage(Enum):
    """How far the shutdown is.

        DRAINING ──► STOPPING_ACTORS ──► HARVESTING ──► STOPPING_GATEWAYS ──► DONE

    Every stage ends when its condition is met or its time is up; none can be entered twice.
    """

    DRAINING = "draining"
    STOPPING_ACTORS = "stopping actors"
    HARVESTING = "harvesting"
    STOPPING_GATEWAYS = "stopping gateways"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ShutdownBounds:
    """Seconds. The last three lie between the drain deadline and the exit: less than 2 s together."""

    drain_s: float = 30.0
    grace_s: float = 5.0  # for processes that have nothing to do any more, while the deadline is still far
    idle_actor_s: float = 0.25
    harvest_s: float = 0.5
    gateway_s: float = 1.0


class Shutdown:
    """Drains the gateways, stops the actors, has those that were killed accounted for, stops the gateways.

    Ends at most `drain_s` + 2 s after it began, and at most 2 s after `hurry`. `exit_status` is 0 if every
    job was finished or given back; a gateway that had to be killed leaves leases that expire only later,
    which is a failure. Owns: the deadline. Stops when: DONE.
    """

    def __init__(
        self, cells: Sequence[Cell], bounds: ShutdownBounds, now: float, exit_status: int = EXIT_OK
    ) -> None:
        self._cells = cells
        self._bounds = bounds
        self.exit_status = exit_status
        self.stage = Stage.DRAINING
        self._deadline = now + bounds.drain_s
        self._stage_ends = self._deadline
        deadline_ns = time.monotonic_ns() + int(bounds.drain_s * 1e9)
        for cell in cells:
            for slot in cell.actors:
                slot.wanted = False  # those that run go on until everything is drained
                if slot.phase is Phase.WAITING:
                    slot.phase = Phase.VACANT
            cell.gateway.drain(deadline_ns)

    def hurry(self, now: float) -> None:
        """Wait for no job any more: what still runs is killed and given back."""
        self._deadline = min(self._deadline, now)
        if self.stage in (Stage.DRAINING, Stage.STOPPING_ACTORS):
            self._stage_ends = min(self._stage_ends, now)
        elif self.stage is Stage.STOPPING_GATEWAYS:
            self._stage_ends = min(self._stage_ends, now + self._bounds.gateway_s)

    def next_due(self, now: float) -> float | None:
        """When the current stage's time is up; None once it is."""
        return self._stage_ends if self._stage_ends > now else None

    def step(self, now: float) -> bool:
        """Go on as far as possible; True when done."""
        if self.stage is Stage.DRAINING and (
            now >= self._deadline or all(map(self._is_drained, self._cells))
        ):
            self._stop_actors(now)
        if self.stage is Stage.STOPPING_ACTORS:
            for slot in self._actors():
                if slot.alive:  # one that the zygote was still forking turns up late
                    self._stop_actor(slot)
            if now >= self._stage_ends:
                self._kill(self._actors(), KillReason.DRAIN_DEADLINE)
            if not any(slot.alive or slot.phase is Phase.FORKING for slot in self._actors()):
                self._enter(Stage.HARVESTING, now + self._bounds.harvest_s)
        if self.stage is Stage.HARVESTING and (
            now >= self._stage_ends or all(map(self._is_harvested, self._cells))
        ):
            self._stop_gateways(now)
        if self.stage is Stage.STOPPING_GATEWAYS:
            gateways = [cell.gateway for cell in self._cells]
            if now >= self._stage_ends and any(slot.phase is Phase.LEAVING for slot in gateways):
                log.error(
                    "a gateway does not stop and is killed: its jobs run again when their leases expire"
                )
                self._kill(gateways, KillReason.DRAIN_DEADLINE)
            if not any(slot.alive for slot in gateways):
                self._enter(Stage.DONE, now)
        return self.stage is Stage.DONE

    def _enter(self, stage: Stage, ends: float) -> None:
        self.stage = stage
        self._stage_ends = ends

    def _actors(self) -> list[ProcessSlot]:
        return [slot for cell in self._cells for slot in cell.actors]

    def _is_drained(self, cell: Cell) -> bool:
        gateway = cell.gateway
        if gateway.alive:
            # One that never was ready has never fetched a job.
            return gateway.drained or not gateway.was_ready
        return gateway.phase is Phase.VACANT or not gateway.was_ready

    def _stop_actors(self, now: float) -> None:
        in_time = now < self._deadline
        self._enter(
            Stage.STOPPING_ACTORS,
            min(self._deadline, now + self._bounds.grace_s) if in_time else now + self._bounds.idle_actor_s,
        )
        if not in_time:
            busy = [slot for slot in self._actors() if slot.alive and slot.in_job]
            if busy:
                names = ", ".join(slot.label for slot in busy)
                log.warning(
                    "time is up: killing %s in mid-job; the jobs go back to their queues uncharged", names
                )
            self._kill(busy, KillReason.DRAIN_DEADLINE)

    @staticmethod
    def _stop_actor(slot: ProcessSlot) -> None:
        # One that is starting holds no job, and may be importing for a long time yet.
        if slot.page.state is ProcessState.STARTING:
            slot.kill(KillReason.REQUESTED)
        else:
            slot.stop()

    def _is_harvested(self, cell: Cell) -> bool:
        return not cell.gateway.alive or all(slot.harvested for slot in cell.actors)

    def _stop_gateways(self, now: float) -> None:
        grace_s = max(self._bounds.gateway_s, min(self._deadline - now, self._bounds.grace_s))
        self._enter(Stage.STOPPING_GATEWAYS, now + grace_s)
        for cell in self._cells:
            gateway = cell.gateway
            gateway.wanted = False
            if gateway.phase is Phase.WAITING:  # it died and its successor was not forked yet
                gateway.phase = Phase.VACANT
                self.exit_status = max(self.exit_status, EXIT_FAILED)
            elif not self._is_harvested(cell):
                self.exit_status = max(self.exit_status, EXIT_FAILED)
            if gateway.alive and not gateway.was_ready:  # still connecting: it has nothing to give back
                gateway.kill(KillReason.REQUESTED)
            else:
                gateway.stop()

    def gateway_ended(self, gateway: ProcessSlot, code: int) -> None:
        """A gateway ended, told to or not: its status says whether it could give everything back."""
        if code != EXIT_OK and gateway.was_ready and self.stage is Stage.STOPPING_GATEWAYS:
            self.exit_status = max(self.exit_status, EXIT_FAILED)

    @staticmethod
    def _kill(slots: Sequence[ProcessSlot], reason: KillReason) -> None:
        for slot in slots:
            slot.kill(reason)
