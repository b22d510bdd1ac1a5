"""The app that the supervisor runs: one CPU-bound processor."""

from __future__ import annotations

from typing import TypedDict

from glidemq import App, Job
from glidemq.examples.stdlib_metrics.measure import FileRecord, measure

QUEUE = "stdlib-metrics"

app = App()


class SourceFile(TypedDict):
    """A job's data: which file to measure, relative to the standard library."""

    path: str


@app.processor(QUEUE)
def measure_file(job: Job[SourceFile, FileRecord]) -> FileRecord:
    """Measure one file. A plain `def`: it runs in the actor processes, one job at a time in each."""
    return measure(job.data["path"])
