"""From the call that adds a job to the first line of its processor, on a worker that is idle.

python -m glidemq_bench.idle_latency [--rounds 3] [--jobs 200] [--every-ms 30] [--compare bullmq]

Producer and worker are processes of their own; both read the machine's monotonic clock, and the worker
returns the difference as the job's result. glidemq is measured with a plain `def` and with an `async def`
processor, and for each path that a job can take to a worker. BullMQ: one process, concurrency 50, same
server, same run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

from glidemq_bench.measuring import (
    bullmq_completed,
    completed_count,
    glidemq_completed,
    interleaved,
    median,
    percentile,
    print_table,
    wait_until,
)
from glidemq_bench.workbench import Workbench

WARM_UP_JOBS = 20


def latencies(bench: Workbench, completed_key: str, job_key: str) -> list[int]:
    """Nanoseconds, read from the results on the server in the order of completion, warm-up left out."""
    ids: list[bytes] = bench.client.zrange(completed_key, 0, -1)
    results: list[bytes] = [bench.client.hget(job_key + job_id.decode(), "returnvalue") for job_id in ids]
    return [int(result) for result in results[WARM_UP_JOBS:]]


def wait_for_jobs(bench: Workbench, completed_key: str, jobs: int) -> None:
    """Wait until this many jobs are completed."""
    wait_until(lambda: completed_count(bench.client, completed_key) >= jobs, 60, f"{jobs} completed jobs")


def measure_glidemq(bench: Workbench, app: str, kind: str, jobs: int, every_ms: float) -> list[int]:
    """One round with our supervisor and one kind of job."""
    key = glidemq_completed("started")
    worker = bench.supervisor(app, procs=1)
    bench.produce("started", 1, every_ms=1)
    wait_for_jobs(bench, key, 1)
    bench.produce("started", jobs + WARM_UP_JOBS, every_ms=every_ms, kind=kind)
    wait_for_jobs(bench, key, 1 + jobs + WARM_UP_JOBS)
    bench.stop(worker)
    found = latencies(bench, key, "glide:{started}:job:")
    bench.client.flushdb()
    return found


def measure_bullmq(bench: Workbench, jobs: int, every_ms: float) -> list[int]:
    """One round with BullMQ's worker."""
    key = bullmq_completed("started")
    worker = bench.bullmq_worker("started", record_start=True)
    bench.produce_bullmq("started", 1, every_ms=1)
    wait_for_jobs(bench, key, 1)
    bench.produce_bullmq("started", jobs + WARM_UP_JOBS, every_ms=every_ms)
    wait_for_jobs(bench, key, 1 + jobs + WARM_UP_JOBS)
    bench.stop(worker)
    found = latencies(bench, key, "bull:started:")
    bench.client.flushdb()
    return found


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--every-ms", type=float, default=30)
    parser.add_argument("--compare", choices=["bullmq"])
    options = parser.parse_args()

    paths = {
        "glidemq, def": ("started", "fifo"),
        "glidemq, async def": ("started_async", "fifo"),
        "glidemq, def, lifo": ("started", "lifo"),
        "glidemq, def, priority": ("started", "priority"),
    }
    with Workbench() as bench:
        contenders: dict[str, Callable[[], list[int]]] = {
            name: partial(measure_glidemq, bench, app, kind, options.jobs, options.every_ms)
            for name, (app, kind) in paths.items()
        }
        if options.compare:
            contenders["BullMQ"] = partial(measure_bullmq, bench, options.jobs, options.every_ms)
        samples = interleaved(options.rounds, contenders)

    p50 = {name: median([percentile(found, 50) for found in rounds]) for name, rounds in samples.items()}
    p99 = {name: median([percentile(found, 99) for found in rounds]) for name, rounds in samples.items()}
    print_table(
        f"add -> start, idle worker, a job every {options.every_ms:g} ms, medians of {options.rounds} rounds",
        ["", "p50 µs", "p99 µs", *(["p50 against BullMQ"] if options.compare else [])],
        [
            [
                name,
                f"{p50[name] / 1e3:,.0f}",
                f"{p99[name] / 1e3:,.0f}",
                *([f"{p50[name] / p50['BullMQ']:.2f}"] if options.compare else []),
            ]
            for name in samples
        ],
    )


if __name__ == "__main__":
    main()
