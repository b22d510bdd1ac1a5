"""Counting from outside, interleaving, percentiles and plain tables: the same for every system under test."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

Sample = TypeVar("Sample")
Look = TypeVar("Look")


class Window(NamedTuple, Generic[Look]):
    """The steady middle of a drain: how many jobs were finished in it, and what was seen at its ends."""

    jobs: int
    seconds: float
    before: Look
    after: Look

    @property
    def jobs_per_s(self) -> float:
        """Finished jobs per second."""
        return self.jobs / self.seconds


def watch_drain(
    client: Any, key: str, jobs: int, look: Callable[[], Look], *, timeout_s: float = 180.0
) -> Window[Look]:
    """Wait until the sorted set `key` holds `jobs` completed jobs, counted on the server for every system.

    The window opens when a tenth is done and closes when a tenth is left: starting and stopping are out of
    it. `look` is called at both ends. Raises TimeoutError when the jobs are not finished in time.
    """
    deadline = time.monotonic() + timeout_s

    def wait_for(count: int) -> tuple[float, int]:
        while (done := completed_count(client, key)) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{done} of {jobs} jobs done after {timeout_s:g} s")
            time.sleep(0.005)
        return time.monotonic(), done

    begin_s, begin = wait_for(jobs // 10)
    before = look()
    end_s, end = wait_for(jobs - jobs // 10)
    after = look()
    wait_for(jobs)
    if end == begin:
        raise ValueError(f"{jobs} jobs are too few: most were done between two looks")
    return Window(end - begin, end_s - begin_s, before, after)


def completed_count(client: Any, key: str) -> int:
    """Members of the sorted set in which a queue keeps its completed jobs, as all of them are by default."""
    return int(client.zcard(key))


def glidemq_completed(queue: str) -> str:
    """Key of the sorted set of a glidemq queue's completed jobs."""
    return f"glide:{{{queue}}}:completed"


def bullmq_completed(queue: str) -> str:
    """Key of the sorted set of a BullMQ queue's completed jobs."""
    return f"bull:{queue}:completed"


def interleaved(rounds: int, contenders: Mapping[str, Callable[[], Sample]]) -> dict[str, list[Sample]]:
    """Let every contender run once a round, so that a machine that slows down slows all of them."""
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            samples[name].append(run())
            print(f"  round {number + 1}/{rounds}: {name} done", file=sys.stderr)
    return samples


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Poll until the condition holds. Raises TimeoutError naming what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {timeout_s:g} s")
        time.sleep(0.02)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which this share of the sorted values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]


def median(values: Sequence[float]) -> float:
    """The middle value: what a noisy machine disturbs least."""
    return statistics.median(values)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A plain table: the first column to the left, figures to the right."""
    table = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(columns))]
    print(f"\n{title}")
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        print("  " + "  ".join(cells).rstrip())
