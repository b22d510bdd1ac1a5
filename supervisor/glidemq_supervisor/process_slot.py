"""One place of a cell, filled by one process after another."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from enum import Enum

from glidemq.process_spec import Crew, Role
from glidemq.shared_memory import Control, Doorbell, KillReason, ProcessRole, ProcessState, StatusSlot

ROLES: dict[Role, ProcessRole] = {"sync": ProcessRole.SYNC_ACTOR, "async": ProcessRole.ASYNC_ACTOR}


class Phase(Enum):
    """What the supervisor does with a slot (the process's own view of itself is its page's `ProcessState`).

        VACANT ──► WAITING ──► RUNNING ──► LEAVING ──┐
          ▲ ▲       │ ▲  ▲       │  │         │      │
          │ └───────┘ │  └───────┼──┴► KILLED ◄┘     │
          │        FORKING       │       │           │
          └──────────────────────┴───────┴───────────┘   (or back to WAITING, if another process is to follow)

    FORKING: the zygote has been asked for a process. LEAVING: told to go, its exit is no crash.
    """

    VACANT = "vacant"
    WAITING = "waiting"
    FORKING = "forking"
    RUNNING = "running"
    LEAVING = "leaving"
    KILLED = "killed"


LEGAL_TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.VACANT: frozenset({Phase.WAITING}),
    Phase.WAITING: frozenset({Phase.VACANT, Phase.FORKING, Phase.RUNNING}),
    Phase.FORKING: frozenset({Phase.RUNNING, Phase.WAITING, Phase.VACANT}),
    Phase.RUNNING: frozenset({Phase.LEAVING, Phase.KILLED, Phase.WAITING, Phase.VACANT}),
    Phase.LEAVING: frozenset({Phase.KILLED, Phase.WAITING, Phase.VACANT}),
    Phase.KILLED: frozenset({Phase.WAITING, Phase.VACANT}),
}

_PAST_READY = frozenset(
    {ProcessState.READY, ProcessState.DRAINING, ProcessState.DRAINED, ProcessState.STOPPED}
)
ALIVE = frozenset({Phase.RUNNING, Phase.LEAVING, Phase.KILLED})


@dataclass(frozen=True, slots=True)
class SlotAddress:
    """Which process of the tree a slot is for."""

    cell: int
    crew: Crew | None  # None: the cell's gateway
    index: int = 0  # of an actor, within its cell

    @property
    def role(self) -> Role | None:
        return None if self.crew is None else self.crew.role

    @property
    def is_gateway(self) -> bool:
        return self.crew is None

    @property
    def label(self) -> str:
        """The name in the log and in `ps`: "gateway 0", "actor 0.3"."""
        return f"gateway {self.cell}" if self.crew is None else f"actor {self.cell}.{self.index}"


class ProcessSlot:
    """A slot's process, past and future: its pid, generation and phase, and its page on the status board.

    Owns: the supervisor's words of the page. Read by: the supervisor's parts, each for its own concern.
    Stops when: its cell's arena is closed.
    """

    def __init__(self, address: SlotAddress, page: StatusSlot, *bells: Doorbell) -> None:
        """`bells`: of the processes to which this slot's control words and death are news."""
        self.address = address
        self.page = page
        self._bells = bells
        self._phase = Phase.VACANT
        self.pid: int | None = None
        self.generation = 0  # of the process that lives here, or lived here last
        self.app_epoch = 0  # how often the app had been reloaded when that process was forked
        self.wanted = False  # another process is to follow when this one is gone
        self.due = 0.0  # WAITING: not before this time (time.monotonic)
        self.forked_at = 0.0  # time.monotonic
        self.stop_told = False
        self._predecessor_was_ready = False
        # What a gateway is to do whichever process plays it: one that dies while it drains is replaced by
        # one that drains.
        self._standing_order = (Control.RUN, 0)

    @property
    def label(self) -> str:
        return self.address.label

    @property
    def phase(self) -> Phase:
        return self._phase

    @phase.setter
    def phase(self, phase: Phase) -> None:
        if phase not in LEGAL_TRANSITIONS[self._phase]:
            raise AssertionError(f"{self.label}: {self._phase.value} → {phase.value} is no legal transition")
        self._phase = phase

    @property
    def alive(self) -> bool:
        return self._phase in ALIVE

    @property
    def ready(self) -> bool:
        """A process lives here that has come up and has not been told to leave."""
        return self._phase is Phase.RUNNING and self.page.state is ProcessState.READY

    @property
    def was_ready(self) -> bool:
        """Whether this process or one before it has ever come up."""
        return self._predecessor_was_ready or self.page.state in _PAST_READY

    @property
    def drained(self) -> bool:
        return self.page.state is ProcessState.DRAINED

    @property
    def harvested(self) -> bool:
        """The gateway has accounted for everything the last process held: the next one may attach."""
        return self.generation == 0 or self.page.harvested_generation >= self.generation

    @property
    def in_job(self) -> bool:
        """Whether the process runs user code, or ran it when it died."""
        return not self.address.is_gateway and (self.page.current_seq != 0 or self.page.held != 0)

    def want(self, now: float, delay_s: float = 0.0) -> None:
        """Have a process here from now on."""
        self.wanted = True
        self.due = now + delay_s
        if self._phase is Phase.VACANT:
            self.phase = Phase.WAITING

    def retire(self) -> None:
        """Let the process finish what it runs, if there is one, and have none after it."""
        self.wanted = False
        if self._phase is Phase.WAITING:
            self.phase = Phase.VACANT
        elif self._phase is Phase.RUNNING:
            self.drain()

    def begin(self, app_epoch: int) -> int:
        """Prepare the page for the next process and return its generation; call it right before the fork."""
        role = ProcessRole.GATEWAY if self.address.role is None else ROLES[self.address.role]
        self.generation += 1
        self.app_epoch = app_epoch
        self.stop_told = False
        self.page.begin(self.generation, role, time.monotonic_ns())
        if self.address.is_gateway:
            self.page.control, self.page.deadline_ns = self._standing_order
        return self.generation

    def forked(self, pid: int, now: float) -> None:
        self.pid = self.page.pid = pid
        self.forked_at = now
        self.phase = Phase.RUNNING

    def abandon_fork(self, due: float) -> None:
        """There will be no process of this generation after all; its number stays used."""
        self.page.state = ProcessState.DEAD
        self._ring()
        self.due = due
        self.phase = Phase.WAITING if self.wanted else Phase.VACANT

    def drain(self, deadline_ns: int = 0) -> None:
        """Ask the process to finish what it runs and, an actor, to exit. 0: no limit of time."""
        self._tell(Control.DRAIN, deadline_ns)

    def stop(self) -> None:
        """Ask the process to exit as soon as it can."""
        if not self.stop_told:
            self.stop_told = True
            self._tell(Control.STOP, self.page.deadline_ns)

    def _tell(self, control: Control, deadline_ns: int) -> None:
        self._standing_order = (control, deadline_ns)
        self.page.deadline_ns = deadline_ns
        self.page.control = control
        self._ring()
        leaves = control is Control.STOP or not self.address.is_gateway  # a drained gateway stays
        if self._phase is Phase.RUNNING and leaves:
            self.phase = Phase.LEAVING

    def _ring(self) -> None:
        for bell in self._bells:
            bell.ring_always()

    def kill(self, reason: KillReason) -> None:
        """SIGKILL the process; its group follows when it is reaped."""
        if self._phase not in (Phase.RUNNING, Phase.LEAVING) or self.pid is None:
            return
        self.page.kill_reason = reason
        os.kill(self.pid, signal.SIGKILL)  # ours and not reaped: the pid cannot be anybody else's
        self.phase = Phase.KILLED

    def gone(self, wait_status: int, now: float) -> None:
        """The process is reaped: record how, and have the gateway account for what it held."""
        self._predecessor_was_ready = self.was_ready
        self.page.exit_status = wait_status
        self.page.pid = 0
        self.page.state = ProcessState.DEAD
        self._ring()
        self.pid = None
        self.due = now
        self.phase = Phase.WAITING if self.wanted else Phase.VACANT
