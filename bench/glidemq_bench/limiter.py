"""What a token limiter costs: round trips per job and the rate of starts, far from the limit and near it.

python -m glidemq_bench.limiter [--rounds 3] [--jobs 20000] [--hosts 2] [--procs 4]

Far: no-op coroutines, 50 at a time in each of 2 actor processes, with a limit that they never reach, against the same
without a limiter, in one run. Near: `--hosts` supervisors of `--procs` actor processes each share a limit of 2,000 jobs
a second, with ten seconds' worth of jobs waiting; shown is what the windows were used for, by the times at which the
server let the jobs start. Round trips are those calls that only the limiter makes, counted in runs of their own by
watching the server.
"""

from __future__ import annotations

import argparse
import threading
from collections import Counter
from functools import partial
from typing import Any, NamedTuple

import valkey

from glidemq_bench.measuring import (
    completed_count,
    glidemq_completed,
    interleaved,
    median,
    print_table,
    wait_until,
)
from glidemq_bench.throughput import PAYLOAD_BYTES, PROCS, Drain, drain
from glidemq_bench.workbench import Workbench
from glidemq_bench.workloads import NEAR_TOKENS, NEAR_WINDOW_S, TOKENS_OF_JOB

LIMITER_CALLS = ("gmq_lease_tokens", "gmq_look_at_limit")
NEAR_WINDOWS = 10


class CallCounter:
    """Counts the limiter's calls as the server sees them. Owns: a connection and a thread, until the block ends."""

    def __init__(self, bench: Workbench) -> None:
        self._client: Any = valkey.Valkey(port=bench.port)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._watching = threading.Event()
        self.calls = 0

    def __enter__(self) -> CallCounter:
        self._thread.start()
        self._watching.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._client.ping()  # one more line for the watcher, so that it looks at the flag
        self._thread.join()
        self._client.close()

    def _watch(self) -> None:
        with self._client.monitor() as monitor:
            self._watching.set()
            for seen in monitor.listen():
                if self._end.is_set():
                    return
                self.calls += any(name in seen["command"] for name in LIMITER_CALLS)


def drain_noops(bench: Workbench, jobs: int, app: str) -> Drain:
    """One round; every round starts with an empty server."""
    bench.produce("noop", jobs, payload_bytes=PAYLOAD_BYTES)
    drained = drain(bench, lambda: bench.supervisor(app, procs=PROCS), glidemq_completed("noop"), jobs)
    bench.client.flushdb()
    return drained


class Near(NamedTuple):
    """One drain under pressure. windows: tokens by window, in order."""

    windows: list[int]
    calls_per_job: float


def drain_near(bench: Workbench, hosts: int, procs: int) -> Near:
    """Work off more than the limit lets start, on several hosts."""
    jobs = NEAR_WINDOWS * NEAR_TOKENS // TOKENS_OF_JOB
    bench.produce("near", jobs, payload_bytes=PAYLOAD_BYTES)
    key = glidemq_completed("near")
    with CallCounter(bench) as counter:
        supervisors = [bench.supervisor("near", procs=procs) for _ in range(hosts)]
        wait_until(lambda: completed_count(bench.client, key) == jobs, 120, "the last job")
        for supervisor in supervisors:
            bench.stop(supervisor)
    pipeline = bench.client.pipeline()
    for number in range(1, jobs + 1):
        pipeline.hget(f"glide:{{near}}:job:{number}", "processedOn")
    starts = [int(started) for started in pipeline.execute()]
    windows = Counter(start // (NEAR_WINDOW_S * 1000) for start in starts)
    bench.client.flushdb()
    used = [windows[number] * TOKENS_OF_JOB for number in range(min(windows), max(windows) + 1)]
    return Near(used, counter.calls / jobs)


def main() -> None:
    """Run the rounds and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--procs", type=int, default=4)
    options = parser.parse_args()

    apps = {"without": "noop_async", "far from the limit": "far"}
    with Workbench() as bench:
        contenders = {name: partial(drain_noops, bench, options.jobs, app) for name, app in apps.items()}
        samples = interleaved(options.rounds, contenders)
        with CallCounter(bench) as counter:
            drain_noops(bench, options.jobs, "far")
        near = drain_near(bench, options.hosts, options.procs)

    rates = {name: median([drained.jobs_per_s for drained in drains]) for name, drains in samples.items()}
    calls = {"without": 0.0, "far from the limit": counter.calls / options.jobs}
    print_table(
        f"No-op coroutines, {PROCS} actor processes, medians of {options.rounds} rounds",
        ["limiter", "jobs/s", "ratio", "workers µs/job", "server µs/job", "round trips/job"],
        [
            [
                name,
                f"{rates[name]:,.0f}",
                f"{rates[name] / rates['without']:.2f}",
                f"{median([drained.workers_cpu_us for drained in drains]):.0f}",
                f"{median([drained.server_cpu_us for drained in drains]):.0f}",
                f"{calls[name]:.4f}",
            ]
            for name, drains in samples.items()
        ],
    )
    inner = near.windows[1:-1]
    print_table(
        f"{options.hosts} hosts of {options.procs} actor processes, {NEAR_TOKENS:,} tokens per window",
        ["", "most in a window", "used of the allowance", "round trips/job"],
        [
            [
                "near the limit",
                f"{max(near.windows):,}",
                f"{sum(inner) / (len(inner) * NEAR_TOKENS):.1%}",
                f"{near.calls_per_job:.4f}",
            ]
        ],
    )


if __name__ == "__main__":
    main()
