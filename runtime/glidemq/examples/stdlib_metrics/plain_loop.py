"""The same work without a queue: one process, one loop. What the queue's rate and totals are compared with.

python -m glidemq.examples.stdlib_metrics.plain_loop
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from glidemq.examples.stdlib_metrics.measure import FileRecord, measure, stdlib_files
from glidemq.examples.stdlib_metrics.summary import Totals, print_totals


class PlainRun(NamedTuple):
    """What a plain loop found, and how long it took, in seconds."""

    records: list[FileRecord]
    elapsed_s: float


def run_plain_loop(paths: Iterable[str], root: Path | None = None) -> PlainRun:
    """Measure the files one after the other, in this process."""
    started = time.monotonic()
    records = [measure(path, root) for path in paths]
    return PlainRun(records, time.monotonic() - started)


def main() -> None:
    """Measure the whole standard library and print the totals."""
    console = Console()
    paths = stdlib_files()
    run = run_plain_loop(track(paths, "measuring in one plain loop", console=console, transient=True))
    print_totals(Totals.of(run.records), console)
    console.print(f"{len(paths)} files in {run.elapsed_s:.1f} s: {len(paths) / run.elapsed_s:.0f} files/s")


if __name__ == "__main__":
    main()
