"""Telling a process that hangs from one that works or was stopped on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glidemq.shared_memory import ProcessState
from glidemq_supervisor.process_slot import ProcessSlot


@dataclass(frozen=True, slots=True)
class LivenessLimits:
    """How long a process may go without a sign of life."""

    start_s: float = 60.0  # an actor from its fork to READY: importing the app
    gateway_start_s: float = 65.0  # a gateway between two beats of its start, which it bounds itself
    gateway_s: float = 10.0  # leases last three times as long
    actor_s: float = 30.0  # an event loop that a coroutine blocks

    @classmethod
    def from_beat(cls, beat_s: float, start_s: float) -> LivenessLimits:
        return cls(start_s=start_s, gateway_start_s=start_s + 5.0, gateway_s=20 * beat_s, actor_s=60 * beat_s)


@dataclass(slots=True)
class _Observation:
    pid: int
    beat_ns: int
    seen_at: float


class Liveness:
    """Watches the beats on the status board.

    Judges by when *we* saw a beat change, not by its time stamp: a supervisor that was itself stopped, or
    starved, must not find everybody guilty when it wakes.
    """

    def __init__(
        self,
        limits: LivenessLimits,
        *,
        own_gap_s: float = 2.5,
        is_stopped: Callable[[int], bool] | None = None,
    ) -> None:
        self._limits = limits
        self._own_gap_s = own_gap_s
        self._is_stopped = is_stopped or is_stopped_process
        self._observed: dict[ProcessSlot, _Observation] = {}
        self._last_look: float | None = None

    def find_hung(self, slots: list[ProcessSlot], now: float) -> list[tuple[ProcessSlot, str]]:
        """The slots whose process must be replaced, each with the reason in words."""
        if self._last_look is not None and now - self._last_look > self._own_gap_s:
            self._observed.clear()
        self._last_look = now
        return [(slot, reason) for slot in slots if (reason := self._why_hung(slot, now)) is not None]

    def forget(self, slot: ProcessSlot) -> None:
        self._observed.pop(slot, None)

    def _why_hung(self, slot: ProcessSlot, now: float) -> str | None:
        pid = slot.pid
        if pid is None:
            return None
        beat_ns = slot.page.beat_ns
        seen = self._observed.get(slot)
        if seen is None or seen.pid != pid or seen.beat_ns != beat_ns or self._is_exempt(slot):
            self._observed[slot] = _Observation(pid, beat_ns, now)
            return None
        silent_s = now - seen.seen_at
        starting = slot.page.state is ProcessState.STARTING
        limit_s = self._limit_s(slot, starting=starting)
        if silent_s <= limit_s:
            return None
        if self._is_stopped(pid):  # looked up last: a system call
            seen.seen_at = now
            return None
        return (
            f"did not become ready within {limit_s:g} s"
            if starting
            else f"gave no sign of life for {limit_s:g} s"
        )

    def _is_exempt(self, slot: ProcessSlot) -> bool:
        """A plain function may hold its process for as long as it likes: the job's own `timeout` governs."""
        return slot.address.role == "sync" and slot.in_job

    def _limit_s(self, slot: ProcessSlot, *, starting: bool) -> float:
        if starting:
            return self._limits.gateway_start_s if slot.address.is_gateway else self._limits.start_s
        return self._limits.gateway_s if slot.address.is_gateway else self._limits.actor_s


def is_stopped_process(pid: int) -> bool:
    """Whether a signal or a debugger has stopped the process (state T or t)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] in "Tt"  # the name before it may contain anything
