"""When a dead process is replaced, and when the supervisor gives up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum


class Death(Enum):
    """Why a process ended, as far as restarting is concerned."""

    EXPECTED = "expected"  # told to leave: rolled, recycled
    IN_JOB = (
        "in job"  # user code took it down, or it was killed for it: each job has a crash limit of its own
    )
    SERVER_AWAY = (
        "server away"  # a gateway that was ready before finds no server: not its fault, never give up
    )
    ON_ITS_OWN = "on its own"  # everything else: what a crash loop is made of


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """Delays double from `first_s` to `longest_s`; more than `intensity` deaths in `window_s` end it all."""

    first_s: float = 0.1
    longest_s: float = 10.0
    longest_in_job_s: float = 1.0
    intensity: int = 5
    window_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows a death."""

    delay_s: float
    give_up: bool = False


class RestartPolicy:
    """The deaths of one slot, and what follows from them.

    Deaths in the middle of a job delay the restart but never end the supervisor: the job is failed at its
    third crash, so two poisonous jobs must not stop a host that works through a million good ones.
    """

    def __init__(self, limits: RestartLimits) -> None:
        self._limits = limits
        self._recent: deque[float] = deque()
        self._streak = 0

    def died(self, death: Death, now: float, *, lifetime_s: float, made_progress: bool) -> Verdict:
        """Record a death at `now` (monotonic seconds); `made_progress`: the process had finished jobs."""
        limits = self._limits
        if death is Death.EXPECTED:
            return Verdict(0.0)
        if made_progress or lifetime_s >= limits.window_s:
            self._streak = 0
        self._streak += 1
        delay_s = min(limits.longest_s, limits.first_s * 2.0 ** min(self._streak - 1, 32))
        if death is Death.IN_JOB:
            return Verdict(min(delay_s, limits.longest_in_job_s))
        if death is Death.SERVER_AWAY:
            return Verdict(delay_s)
        self._recent.append(now)
        while self._recent[0] <= now - limits.window_s:
            self._recent.popleft()
        return Verdict(delay_s, give_up=len(self._recent) > limits.intensity)
