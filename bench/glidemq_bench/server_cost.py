"""What a job costs the server: microseconds of `fcall` per job, by the server's own count.

python -m glidemq_bench.server_cost [--jobs 6400] [--batch 64] [--rounds 5] [--payload 100]

No worker runs: calls are built and sent one after the other, events and metrics on, jobs without options.
`step` completes one batch and starts the next. Each round starts with an empty server; the rounds of all
measurements are interleaved, and the table shows the median and the best one.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from glidemq.commands.command import Command, R, unpack
from glidemq.commands.enqueue import EnqueueCommand, JobRow
from glidemq.commands.extend_leases import ExtendLeasesCommand
from glidemq.commands.keys import QueueKeys
from glidemq.commands.step import Activation, CompletionRow, StepCommand
from glidemq_bench.measuring import print_table
from glidemq_bench.workbench import Workbench
from glidemq_lua import library_source

KEYS = QueueKeys("glide", "noop")
CONSUMER = "py-bench"
MAX_BYTES = 1 << 20


class ServerCost:
    """Drives one queue of a private server and reads what each call cost."""

    def __init__(self, client: Any, *, jobs: int, batch: int, payload: int) -> None:
        """`client` is a valkey.Valkey, whose own annotations do not allow these calls."""
        self._client = client
        self._jobs = jobs
        self._batch = batch
        self._row = JobRow.pack("noop", b'"' + b"x" * (payload - 2) + b'"')
        self._runs = 0

    def execute(self, command: Command[R]) -> R:
        """Send one call and read its reply."""
        reply = self._client.fcall(command.function, 1, command.queue_key, command.arguments())
        return command.parse_reply(unpack(reply))

    def measure(self) -> dict[str, float]:
        """One round: µs of server time a job, by what was done."""
        self._client.flushall()
        cost = {"enqueue, one job a call": self._per_job(self._enqueue(1), self._jobs // 8)}
        self._client.flushall()
        cost[f"enqueue, {self._batch} a call"] = self._per_job(self._enqueue(self._batch), self._jobs)
        active: list[Activation] = self._step([], self._batch)
        cost[f"step, complete and start {self._batch} a call"] = self._per_job(
            self._cycles(active), self._jobs - self._batch
        )
        cost[f"extend_leases, {self._batch} a call"] = self._per_job(self._beats(active), self._batch * 20)
        cost[f"step, complete {self._batch} a call"] = self._per_job(self._finish(active), self._batch)
        self._client.flushall()
        for _ in self._enqueue(self._batch):
            pass
        cost["step, complete and start one job a call"] = self._per_job(
            self._singles(self._jobs // 8), self._jobs // 8
        )
        return cost

    def _per_job(self, calls: Iterator[None], jobs: int) -> float:
        self._client.config_resetstat()
        for _ in calls:
            pass
        return float(self._client.info("commandstats")["cmdstat_fcall"]["usec"]) / jobs

    def _enqueue(self, batch: int) -> Iterator[None]:
        jobs = self._jobs if batch > 1 else self._jobs // 8
        for _ in range(jobs // batch):
            self.execute(EnqueueCommand(KEYS.meta, rows=[self._row] * batch))
            yield

    def _step(self, finished: list[Activation], slots: int) -> list[Activation]:
        self._runs += 1
        rows = [
            CompletionRow.pack(a.id, a.token, a.processed_on, a.entry_id, b"null", False) for a in finished
        ]
        result = self.execute(
            StepCommand(
                KEYS.meta,
                consumer=CONSUMER,
                cell=CONSUMER,
                run=f"0123456789ab-{self._runs}",
                complete=rows,
                slots=slots,
                ahead=0,
                max_bytes=MAX_BYTES,
            )
        )
        assert all(code == 1 for code in result.outcomes), "every completion is accepted"
        return result.activations

    def _cycles(self, active: list[Activation]) -> Iterator[None]:
        for _ in range(self._jobs // self._batch - 1):
            active[:] = self._step(active, self._batch)
            yield

    def _singles(self, jobs: int) -> Iterator[None]:
        active: list[Activation] = []
        for _ in range(jobs):
            active = self._step(active, 1)
            yield

    def _finish(self, active: list[Activation]) -> Iterator[None]:
        self._step(active, 0)
        yield

    def _beats(self, active: list[Activation]) -> Iterator[None]:
        for _ in range(20):
            self.execute(
                ExtendLeasesCommand(KEYS.meta, rows=[(a.id, a.token, a.processed_on) for a in active])
            )
            yield


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=6_400, help="jobs a round; a multiple of the batch")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--payload", type=int, default=100, help="bytes of data of each job")
    options = parser.parse_args()

    costs: dict[str, list[float]] = defaultdict(list)
    with Workbench() as bench:
        bench.client.function_load(library_source(), replace=True)
        for _ in range(options.rounds):
            cost = ServerCost(bench.client, jobs=options.jobs, batch=options.batch, payload=options.payload)
            for what, us in cost.measure().items():
                costs[what].append(us)
    print_table(
        "Server time per job, µs",
        ["", "median", "best"],
        [[what, f"{statistics.median(us):.1f}", f"{min(us):.1f}"] for what, us in costs.items()],
    )


if __name__ == "__main__":
    main()
