"""The table that SIGUSR1 logs: one line for each process."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from glidemq_supervisor.process_memory import resident_bytes
from glidemq_supervisor.process_slot import Phase, ProcessSlot

log = logging.getLogger("glidemq.supervisor")

_HEADINGS = ("process", "pid", "state", "rss MB", "done", "done/s", "held", "age s", "generation", "job")


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """What is known about one process of the runtime."""

    process: str
    pid: int | None
    state: str
    rss_mb: float | None
    done: int
    done_per_s: float
    held: int
    age_s: float
    generation: int
    job: str

    def cells(self) -> tuple[str, ...]:
        return (
            self.process,
            "-" if self.pid is None else str(self.pid),
            self.state,
            "-" if self.rss_mb is None else f"{self.rss_mb:.1f}",
            str(self.done),
            f"{self.done_per_s:.1f}",
            str(self.held),
            f"{self.age_s:.0f}",
            str(self.generation),
            self.job or "-",
        )


class DoneRates:
    """Jobs finished per second by each process, over the last five to ten seconds."""

    def __init__(self, sample_every_s: float = 5.0) -> None:
        self._sample_every_s = sample_every_s
        self._samples: dict[ProcessSlot, deque[tuple[float, int, int]]] = {}

    def sample(self, slots: Iterable[ProcessSlot], now: float) -> None:
        """Note the counters; to be called at each turn of the loop, which is more often than needed."""
        for slot in slots:
            samples = self._samples.setdefault(slot, deque(maxlen=2))
            if not samples or now - samples[-1][0] >= self._sample_every_s:
                samples.append((now, slot.generation, slot.page.jobs_done))

    def per_second(self, slot: ProcessSlot, now: float) -> float:
        for when, generation, done in self._samples.get(slot, ()):
            if generation == slot.generation and now > when:
                return (slot.page.jobs_done - done) / (now - when)
        return 0.0


def statuses(slots: Iterable[ProcessSlot], rates: DoneRates, now: float) -> list[ProcessStatus]:
    """One entry for the supervisor itself and one for each slot that has or awaits a process."""
    entries = [_own_status()]
    for slot in slots:
        if slot.phase is Phase.VACANT:
            continue
        page, pid = slot.page, slot.pid
        rss = resident_bytes(pid) if pid is not None else None
        entries.append(
            ProcessStatus(
                process=slot.label
                if slot.address.crew is None
                else f"{slot.label} {slot.address.crew.label}",
                pid=pid,
                state=slot.phase.value if slot.phase is not Phase.RUNNING else page.state.name.lower(),
                rss_mb=None if rss is None else round(rss / 1e6, 1),
                done=page.jobs_done,
                done_per_s=round(rates.per_second(slot, now), 1),
                held=page.held,
                age_s=round(now - slot.forked_at, 1) if pid is not None else 0.0,
                generation=slot.generation,
                job=page.note if page.held else "",
            )
        )
    return entries


def log_table(entries: list[ProcessStatus]) -> None:
    """One record a line, aligned for the eye; in JSON the columns are members of the record."""
    rows = [_HEADINGS, *(entry.cells() for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row, entry in zip(rows, (None, *entries), strict=True):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        log.info("%s", line, extra={"status": asdict(entry)} if entry is not None else None)


def _own_status() -> ProcessStatus:
    rss = resident_bytes(os.getpid())
    return ProcessStatus(
        process="supervisor",
        pid=os.getpid(),
        state="running",
        rss_mb=None if rss is None else round(rss / 1e6, 1),
        done=0,
        done_per_s=0.0,
        held=0,
        age_s=0.0,
        generation=1,
        job="",
    )
