"""No-op jobs through a supervisor with 2 actor processes: how many a second when the queue is full.

python -m glidemq_bench.throughput [--rounds 3] [--jobs 40000] [--compare bullmq] [--async] [--aof]

100-byte payloads, events and metrics on, results kept. The queue is filled first and drained then. Jobs/s is
counted from outside, on the server, between the first and the last tenth of the jobs; CPU µs per job cover
the same window; "others" is how many cores the rest of the machine kept busy in it. BullMQ: the npm package in
one Node.js process, concurrency 50, on the same server in the same run.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from glidemq_bench.measuring import (
    bullmq_completed,
    glidemq_completed,
    interleaved,
    median,
    print_table,
    watch_drain,
)
from glidemq_bench.process_tree import TreeUsage
from glidemq_bench.workbench import Workbench

PAYLOAD_BYTES = 100
BULLMQ_JOBS = 20_000  # its rate is steady long before
PROCS = 2


class Drain(NamedTuple):
    """One drained queue."""

    jobs_per_s: float
    workers_cpu_us: float
    server_cpu_us: float
    others_cores: float


def drain(bench: Workbench, start: Callable[[], subprocess.Popen[bytes]], key: str, jobs: int) -> Drain:
    """Start the worker on a full queue and watch it empty."""
    server = bench.server_pid
    worker = start()
    window = watch_drain(bench.client, key, jobs, lambda: TreeUsage.of(worker.pid, server))
    bench.stop(worker)
    server_s = window.after.cpu_since(window.before, server)
    workers_s = window.after.cpu_since(window.before) - server_s
    others_cores = window.after.others_since(window.before) / window.seconds
    return Drain(window.jobs_per_s, workers_s / window.jobs * 1e6, server_s / window.jobs * 1e6, others_cores)


def drain_glidemq(bench: Workbench, jobs: int, app: str) -> Drain:
    """One round of glidemq. Every round starts with an empty server."""
    bench.produce("noop", jobs, payload_bytes=PAYLOAD_BYTES)
    drained = drain(bench, lambda: bench.supervisor(app, procs=PROCS), glidemq_completed("noop"), jobs)
    bench.client.flushdb()
    return drained


def drain_bullmq(bench: Workbench) -> Drain:
    """One round of BullMQ."""
    bench.produce_bullmq("noop", BULLMQ_JOBS, payload_bytes=PAYLOAD_BYTES)
    drained = drain(bench, lambda: bench.bullmq_worker("noop"), bullmq_completed("noop"), BULLMQ_JOBS)
    bench.client.flushdb()
    return drained


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=40_000)
    parser.add_argument("--compare", choices=["bullmq"])
    parser.add_argument("--async", dest="app", action="store_const", const="noop_async", default="noop")
    parser.add_argument("--aof", action="store_true", help="server with AOF, fsync every second")
    options = parser.parse_args()

    with Workbench(append_only=options.aof) as bench:
        contenders: dict[str, Callable[[], Drain]] = {
            "glidemq": partial(drain_glidemq, bench, options.jobs, options.app)
        }
        if options.compare:
            contenders["BullMQ"] = partial(drain_bullmq, bench)
        samples = interleaved(options.rounds, contenders)

    rates = {name: median([drained.jobs_per_s for drained in drains]) for name, drains in samples.items()}
    print_table(
        f"No-op jobs, {PAYLOAD_BYTES} bytes, {PROCS} actor processes, medians of {options.rounds} rounds",
        ["", "jobs/s", "lowest", "highest", "workers µs/job", "server µs/job", "ratio", "others"],
        [
            [
                name,
                f"{rates[name]:,.0f}",
                f"{min(drained.jobs_per_s for drained in drains):,.0f}",
                f"{max(drained.jobs_per_s for drained in drains):,.0f}",
                f"{median([drained.workers_cpu_us for drained in drains]):.0f}",
                f"{median([drained.server_cpu_us for drained in drains]):.0f}",
                f"{rates['glidemq'] / rates[name]:.2f}",
                f"{median([drained.others_cores for drained in drains]):.2f}",
            ]
            for name, drains in samples.items()
        ],
    )


if __name__ == "__main__":
    main()
