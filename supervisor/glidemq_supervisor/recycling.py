"""When an actor process has run for long enough: by jobs, age or memory."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from glidemq_supervisor.process_memory import resident_bytes
from glidemq_supervisor.process_slot import ProcessSlot


@dataclass(frozen=True, slots=True)
class RecyclingLimits:
    """None: no limit."""

    max_jobs: int | None = None
    max_age_s: float | None = None
    max_rss_bytes: int | None = None
    jitter: float = 0.1  # each process's share of it, drawn anew, is taken off the first two

    @property
    def any(self) -> bool:
        return not (self.max_jobs is None and self.max_age_s is None and self.max_rss_bytes is None)


class Recycling:
    """Says which processes are due for replacement.

    Each generation gets limits of its own for jobs and age, a little below those asked for, so that
    processes that started together do not all come due together. Owns: those drawn limits. Read by: the
    roller, which replaces one at a time.
    """

    def __init__(
        self,
        limits: RecyclingLimits,
        *,
        measure_every_s: float = 1.0,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._limits = limits
        self._measure_every_s = measure_every_s
        self._draw = draw
        self._factors: dict[ProcessSlot, tuple[int, float]] = {}
        self._measured: dict[ProcessSlot, tuple[float, int | None]] = {}

    def why_due(self, slot: ProcessSlot, now: float) -> str | None:
        """Why the slot's process is to be replaced, in words; None if it is not."""
        limits = self._limits
        if not limits.any:
            return None
        factor = self._factor(slot)
        done, age_s = slot.page.jobs_done, now - slot.forked_at
        if limits.max_jobs is not None and done >= max(1.0, limits.max_jobs * factor):
            return f"it has done {done} jobs (--max-jobs {limits.max_jobs})"
        if limits.max_age_s is not None and age_s >= limits.max_age_s * factor:
            return f"it is {age_s:.0f} s old (--max-age {limits.max_age_s:g})"
        # One job at least: a limit below the app's own size must not replace processes that never did
        # anything.
        if limits.max_rss_bytes is not None and done > 0:
            rss = self._rss(slot, now)
            if rss is not None and rss >= limits.max_rss_bytes:
                return f"it uses {rss / 1e6:.0f} MB (--max-rss {limits.max_rss_bytes / 1e6:.0f} MB)"
        return None

    def _factor(self, slot: ProcessSlot) -> float:
        generation, factor = self._factors.get(slot, (0, 1.0))
        if generation != slot.generation:
            factor = 1.0 - self._limits.jitter * self._draw()
            self._factors[slot] = (slot.generation, factor)
        return factor

    def _rss(self, slot: ProcessSlot, now: float) -> int | None:
        when, rss = self._measured.get(slot, (float("-inf"), None))
        if now - when >= self._measure_every_s and slot.pid is not None:
            rss = resident_bytes(slot.pid)
            self._measured[slot] = (now, rss)
        return rss
