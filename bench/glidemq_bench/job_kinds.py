"""What each kind of job costs beside a plain one, and whether a long backlog makes any of them dearer.

python -m glidemq_bench.job_kinds [--rounds 3] [--jobs 20000] [--backlogs 1000,200000]

First table: a filled queue, drained by a supervisor with 2 actor processes, no-op jobs, events and metrics on.
Second table: microseconds of `fcall` per job, by the server's own count, over the first 900 jobs that are started and
completed 64 a call from backlogs of different lengths; no worker runs.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from glidemq import Ordering, Queue, RateLimit
from glidemq.client.new_jobs import JobPreparation
from glidemq.commands.command import Command, R, unpack
from glidemq.commands.enqueue import EnqueueCommand
from glidemq.commands.keys import QueueKeys
from glidemq.commands.rate_limit import RateLimitOnWire
from glidemq.commands.set_global_concurrency import SetGlobalConcurrencyCommand
from glidemq.commands.set_global_rate_limit import SetGlobalRateLimitCommand
from glidemq.commands.step import Activation, CompletionRow, StepCommand
from glidemq.options import TokenBucket
from glidemq.payload import Payload
from glidemq_bench.measuring import glidemq_completed, interleaved, median, print_table
from glidemq_bench.throughput import Drain, drain
from glidemq_bench.workbench import Workbench
from glidemq_lua import library_source

QUEUE = "noop"
KEYS = QueueKeys("glide", QUEUE)
DATA = {"x": "x" * 92}
GROUPS = 1_000
BATCH = 64
MEASURED = 900
BULK = 500
# Limits that are looked at for every job and stop none.
GENEROUS = 1_000_000_000

Options = Callable[[int], Mapping[str, Any]]

# Kind of job -> the options of the n-th one.
KINDS: dict[str, Options] = {
    "plain": lambda _: {},
    "priority": lambda n: {"priority": 1 + n % 10},
    "LIFO": lambda _: {"lifo": True},
    "delayed": lambda _: {"delay": 0.001},
    "ordered, 1,000 keys": lambda n: {"ordering": Ordering(str(n % GROUPS))},
    "grouped, 1,000 keys of 4": lambda n: {"ordering": Ordering(str(n % GROUPS), concurrency=4)},
    "group rate limit": lambda n: {
        "ordering": Ordering(str(n % GROUPS), concurrency=4, rate_limit=RateLimit(GENEROUS, 60))
    },
    "group token bucket": lambda n: {
        "ordering": Ordering(str(n % GROUPS), concurrency=4, token_bucket=TokenBucket(GENEROUS, GENEROUS)),
        "cost": 2,
    },
    "global rate limit": lambda _: {},
    "global concurrency of 100": lambda _: {},
}


class StepCost:
    """Starts and completes jobs with calls of its own, and reads what they cost the server."""

    def __init__(self, client: Any) -> None:
        """`client` is a valkey.Valkey, whose own annotations do not allow these calls."""
        self._client = client
        self._steps = 0

    def measure(self, kind: str, backlog: int) -> float:
        """µs of server time a job, for the first jobs of a backlog."""
        # Not in the background: the next jobs would pay for it.
        self._client.execute_command("FLUSHALL", "SYNC")
        self._fill(kind, backlog)
        active = self._step([])
        self._client.config_resetstat()
        done = 0
        while done < MEASURED and active:
            done += len(active)
            active = self._step(active)
        return float(self._client.info("commandstats")["cmdstat_fcall"]["usec"]) / done

    def _fill(self, kind: str, jobs: int) -> None:
        if kind == "global concurrency of 100":
            self._execute(SetGlobalConcurrencyCommand(KEYS.meta, concurrency=100))
        if kind == "global rate limit":
            limit = RateLimitOnWire(GENEROUS, 60_000)
            self._execute(SetGlobalRateLimitCommand(KEYS.meta, limit=limit))
        preparation = JobPreparation(Payload(), None)
        for first in range(0, jobs, BULK):
            rows = [
                preparation.prepare("noop", DATA, KINDS[kind](n)).row
                for n in range(first, min(first + BULK, jobs))
            ]
            self._execute(EnqueueCommand(KEYS.meta, rows=rows))

    def _step(self, finished: list[Activation]) -> list[Activation]:
        self._steps += 1
        rows = [
            CompletionRow.pack(a.id, a.token, a.processed_on, a.entry_id, b"null", False) for a in finished
        ]
        result = self._execute(
            StepCommand(
                KEYS.meta,
                consumer="py-bench",
                cell="py-bench",
                run=f"0123456789ab-{self._steps}",
                complete=rows,
                slots=BATCH,
                ahead=0,
                max_bytes=1 << 20,
            )
        )
        assert all(code == 1 for code in result.outcomes), "every completion is accepted"
        return result.activations

    def _execute(self, command: Command[R]) -> R:
        reply = self._client.fcall(command.function, 1, command.queue_key, command.arguments())
        return command.parse_reply(unpack(reply))


async def _fill(url: str, kind: str, jobs: int) -> None:
    async with Queue[Any, Any](QUEUE, connection=url) as queue:
        if kind == "global concurrency of 100":
            await queue.set_global_concurrency(100)
        if kind == "global rate limit":
            await queue.set_global_rate_limit(RateLimit(GENEROUS, 60))
        for first in range(0, jobs, BULK * 2):
            await queue.add_bulk(
                [("noop", DATA, KINDS[kind](n)) for n in range(first, min(first + BULK * 2, jobs))]  # type: ignore[misc]
            )


def drain_kind(bench: Workbench, kind: str, jobs: int) -> Drain:
    """One round of one kind. Every round starts with an empty server."""
    asyncio.run(_fill(bench.url, kind, jobs))
    drained = drain(bench, lambda: bench.supervisor("noop", procs=2), glidemq_completed(QUEUE), jobs)
    bench.client.flushdb()
    return drained


def main() -> None:
    """Run the rounds and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--backlogs", default="1000,200000", help="lengths for the second table")
    options = parser.parse_args()
    backlogs = [int(length) for length in options.backlogs.split(",")]

    with Workbench() as bench:
        drains = interleaved(
            options.rounds, {kind: partial(drain_kind, bench, kind, options.jobs) for kind in KINDS}
        )
        bench.client.function_load(library_source(), replace=True)
        cost = StepCost(bench.client)
        costs = interleaved(
            options.rounds,
            {
                f"{kind}, {length:,} jobs": partial(cost.measure, kind, length)
                for kind in KINDS
                for length in backlogs
            },
        )

    rates = {kind: median([drained.jobs_per_s for drained in rounds]) for kind, rounds in drains.items()}
    print_table(
        f"No-op jobs, 2 actor processes, medians of {options.rounds} rounds",
        ["", "jobs/s", "of plain", "workers µs/job", "server µs/job"],
        [
            [
                kind,
                f"{rates[kind]:,.0f}",
                f"{rates[kind] / rates['plain']:.2f}",
                f"{median([drained.workers_cpu_us for drained in rounds]):.0f}",
                f"{median([drained.server_cpu_us for drained in rounds]):.0f}",
            ]
            for kind, rounds in drains.items()
        ],
    )
    # The best of the rounds: a guest of the machine can only add to the time that the server's commands took.
    us = {(kind, length): min(costs[f"{kind}, {length:,} jobs"]) for kind in KINDS for length in backlogs}
    first, *_, last = backlogs
    print_table(
        f"Server µs per job, start and complete, {BATCH} a call, by length of the backlog",
        ["", *(f"{length:,}" for length in backlogs), "growth"],
        [
            [
                kind,
                *(f"{us[kind, length]:.1f}" for length in backlogs),
                f"{us[kind, last] / us[kind, first] - 1:+.0%}",
            ]
            for kind in KINDS
        ],
    )


if __name__ == "__main__":
    main()
