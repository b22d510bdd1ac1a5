"""Enqueues one job per file, follows them, and adds their results up; the workers run elsewhere.

python -m glidemq.examples.stdlib_metrics.produce
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from glidemq import Job, JobOptions, Queue, Retention
from glidemq.examples.plain_text import print_plain
from glidemq.examples.stdlib_metrics.measure import FileRecord, stdlib_files
from glidemq.examples.stdlib_metrics.processors import QUEUE, SourceFile
from glidemq.examples.stdlib_metrics.summary import Totals, print_totals

MeasureJob: TypeAlias = Job[SourceFile, FileRecord]
MeasureQueue: TypeAlias = Queue[SourceFile, FileRecord]

BULK = 250
LOOK_EVERY_S = 0.2
# Finished jobs stay on the server this long, in seconds, to be looked at.
KEEP_S = 3600


class QueueRun(NamedTuple):
    """What came out of the queue. elapsed_s: seconds from the first job's start to the last one's end."""

    records: list[FileRecord]
    failures: list[str]
    elapsed_s: float


async def produce(queue: MeasureQueue, paths: Sequence[str], console: Console) -> QueueRun:
    """Enqueue the files, show a progress bar until the queue is empty, and collect the results.

    When cancelled, takes back the jobs that have not started.
    """
    ids: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console) as progress:
            adding = progress.add_task("enqueued", total=len(paths))
            working = progress.add_task("measured", total=len(paths))
            for first in range(0, len(paths), BULK):
                jobs = await queue.add_bulk([job_for(path) for path in paths[first : first + BULK]])
                ids += [job.id for job in jobs]
                progress.update(adding, completed=len(ids))
            while left := await unfinished(queue):
                progress.update(working, completed=max(0, len(ids) - left))
                await asyncio.sleep(LOOK_EVERY_S)
            progress.update(working, completed=len(ids))
        return await collect(queue, ids)
    except asyncio.CancelledError:
        await take_back(queue, ids)
        raise


def job_for(path: str) -> tuple[str, SourceFile, JobOptions]:
    """What `add_bulk` takes for one file."""
    return "measure", SourceFile(path=path), JobOptions(remove_on_complete=Retention(age=KEEP_S))


async def unfinished(queue: MeasureQueue) -> int:
    """Jobs of the queue that wait or run, whoever added them."""
    counts = await queue.get_job_counts()
    return counts["waiting"] + counts["delayed"] + counts["active"]


async def collect(queue: MeasureQueue, ids: Sequence[str]) -> QueueRun:
    """Read the finished jobs; the client sends the questions of each chunk as one request."""
    records: list[FileRecord] = []
    failures: list[str] = []
    started_s: list[float] = []
    finished_s: list[float] = []
    for first in range(0, len(ids), BULK):
        chunk = ids[first : first + BULK]
        for job_id, job in zip(chunk, await asyncio.gather(*map(queue.get_job, chunk)), strict=True):
            if job is None or job.processed_on is None or job.finished_on is None:
                failures.append(f"job {job_id} is gone")
                continue
            started_s.append(job.processed_on.timestamp())
            finished_s.append(job.finished_on.timestamp())
            if job.return_value is None:
                failures.append(f"{job.data['path']}: {job.failed_reason}")
            else:
                records.append(job.return_value)
    return QueueRun(records, failures, max(finished_s, default=0.0) - min(started_s, default=0.0))


async def take_back(queue: MeasureQueue, ids: Sequence[str]) -> None:
    """Remove the jobs that have not started, so that an interrupted run leaves no work for the next one."""
    ours = set(ids)
    waiting = [job.id for job in await queue.get_jobs("waiting", exclude_data=True) if job.id in ours]
    for first in range(0, len(waiting), BULK):
        await asyncio.gather(*map(queue.remove, waiting[first : first + BULK]), return_exceptions=True)


async def produce_everything(console: Console) -> int:
    """Enqueue the whole standard library and print the totals; the exit status."""
    async with MeasureQueue(QUEUE) as queue:
        run = await produce(queue, stdlib_files(), console)
    print_totals(Totals.of(run.records), console)
    for failure in run.failures:
        print_plain(failure, console, "red")
    return 1 if run.failures else 0


def main() -> None:
    """Produce, follow, summarize."""
    sys.exit(asyncio.run(produce_everything(Console())))


if __name__ == "__main__":
    main()
