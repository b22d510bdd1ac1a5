"""What a queue tells about itself: its throughput, and who works on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from glidemq.clock import wall_datetime
from glidemq.commands.get_metrics import QueueMetrics
from glidemq.commands.get_workers import WorkerEntry


@dataclass(frozen=True, slots=True)
class MetricsPoint:
    """One minute, from `timestamp` on: the jobs that finished in it, and the seconds that they ran on average."""

    timestamp: datetime
    count: int
    avg_duration: float


@dataclass(frozen=True, slots=True)
class MetricsMeta:
    """How much time a point stands for."""

    resolution: Literal["minute"] = "minute"


@dataclass(frozen=True, slots=True)
class Metrics:
    """Finished jobs over time: `count` are kept in the state now; `data` are minutes, oldest first.

    Minutes in which nothing finished have no point.
    """

    count: int
    data: list[MetricsPoint]
    meta: MetricsMeta = MetricsMeta()


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker that is alive: its consumer name, host and process, start, seconds since then, and running jobs."""

    id: str
    addr: str
    pid: int
    started_at: datetime
    age: float
    active_jobs: int


def metrics_from(stored: QueueMetrics) -> Metrics:
    """What the server holds, with times and seconds."""
    return Metrics(
        stored.kept,
        [
            MetricsPoint(wall_datetime(minute.minute_ms), minute.count, minute.average_ms / 1000)
            for minute in stored.minutes
        ],
    )


def worker_from(entry: WorkerEntry) -> WorkerInfo:
    """An entry of the registry, with times and seconds."""
    return WorkerInfo(
        entry.id,
        entry.addr,
        entry.pid,
        wall_datetime(entry.started_at_ms),
        entry.age_ms / 1000,
        entry.active_jobs,
    )
