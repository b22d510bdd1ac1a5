"""CPU-bound jobs of 2 ms: what the queue costs beside a plain `multiprocessing` loop on the same cores.

python -m glidemq_bench.cpu_bound [--rounds 5] [--jobs 6000] [--milliseconds 2]

Every job is a fixed amount of pure-Python work, sized once at the start. The judge is CPU µs per job of the
whole process tree: supervisor, gateway, actor processes and server on one side, the pool and its parent on
the other. Where both fill the same cores that is what decides the rate, and other guests of the machine move
it far less than wall time. The queue is filled before the supervisor starts, and the first and last tenth of
the jobs do not count.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from glidemq_bench.measuring import glidemq_completed, interleaved, median, print_table, watch_drain
from glidemq_bench.process_tree import TreeUsage
from glidemq_bench.spin import loops_for, spin
from glidemq_bench.workbench import Workbench

PROCS = 2
CHUNK = 16  # jobs that the plain pool hands to a process at a time


class Run(NamedTuple):
    """One batch, worked off."""

    cpu_us: float
    jobs_per_s: float


def run_plain(jobs: int, loops: int) -> Run:
    """A pool of forked processes calling the same function."""
    before = _cpu_s()
    begin = time.monotonic()
    with multiprocessing.get_context("fork").Pool(PROCS) as pool:
        for _ in pool.imap_unordered(spin, [loops] * jobs, chunksize=CHUNK):
            pass
        seconds = time.monotonic() - begin
        pool.close()
        pool.join()
    return Run((_cpu_s() - before) / jobs * 1e6, jobs / seconds)


def run_glidemq(bench: Workbench, jobs: int, loops: int) -> Run:
    """The same jobs through the queue."""
    bench.produce("busy", jobs, data=json.dumps({"loops": loops}))
    supervisor = bench.supervisor("busy", procs=PROCS)
    window = watch_drain(
        bench.client,
        glidemq_completed("busy"),
        jobs,
        lambda: TreeUsage.of(supervisor.pid, bench.server_pid),
    )
    bench.stop(supervisor)
    bench.client.flushdb()
    return Run(window.after.cpu_since(window.before) / window.jobs * 1e6, window.jobs_per_s)


def _cpu_s() -> float:
    """CPU seconds of this process and of all children that it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=6_000)
    parser.add_argument("--milliseconds", type=float, default=2.0)
    options = parser.parse_args()

    loops = loops_for(options.milliseconds / 1000)
    with Workbench() as bench:
        contenders: dict[str, Callable[[], Run]] = {
            "multiprocessing": partial(run_plain, options.jobs, loops),
            "glidemq": partial(run_glidemq, bench, options.jobs, loops),
        }
        samples = interleaved(options.rounds, contenders)

    cpu = {name: median([run.cpu_us for run in runs]) for name, runs in samples.items()}
    rate = {name: median([run.jobs_per_s for run in runs]) for name, runs in samples.items()}
    print_table(
        f"{options.milliseconds:g} ms of CPU a job, {PROCS} processes, medians of {options.rounds} rounds",
        ["", "CPU µs/job", "of the plain loop's rate", "jobs/s (wall)", "wall ratio"],
        [
            [
                name,
                f"{cpu[name]:,.0f}",
                f"{cpu['multiprocessing'] / cpu[name]:.1%}",
                f"{rate[name]:,.0f}",
                f"{rate[name] / rate['multiprocessing']:.1%}",
            ]
            for name in samples
        ],
    )


if __name__ == "__main__":
    main()
