"""Every process of a cell is stopped for longer than its leases last, then goes on: it has lost its jobs."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from tests.faults.conftest import APP_OF, SYNC_APP, Launch, Look, Produce
from tests.testkit.checker import QueueOnServer, check
from tests.testkit.effects import History
from tests.testkit.process_tree import send, state_of
from tests.testkit.runtime import Clock, Runtime
from tests.testkit.waiting import eventually

LOCK_S = 1.0
SHORT_LOCKS: dict[str, Any] = {"lock_duration": LOCK_S, "stalled_interval": 1}
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


async def freeze(runtime: Runtime) -> list[int]:
    """SIGSTOP to the supervisor and all its processes; their pids."""
    tree = runtime.tree()
    send(tree, signal.SIGSTOP)
    await eventually(lambda: all(state_of(pid) == "T" for pid in tree), "every process is stopped")
    return tree


def age_of_lease_s(queue: QueueOnServer, job_id: str) -> float:
    """How long ago, by the server's clock, the job's holder gave a sign of life."""
    seconds, microseconds = queue.client.time()
    heard_ms = int(queue.job(job_id).get("lastActive", 0))
    return float(seconds + microseconds / 1e6 - heard_ms / 1000)


@KINDS
async def test_frozen_cell_s_jobs_run_elsewhere_and_its_late_outcomes_are_refused(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    first = await launch(APP_OF[kind], "--procs", "2", **SHORT_LOCKS).ready()
    producer, queue = produce(kind), look(kind)
    taken = [await producer.add(["wait", "end"]), await producer.add(["wait", "end"], lifo=True)]
    await eventually(lambda: len(history.running()) == 2, "both jobs run")
    frozen = await freeze(first)
    second = await launch(APP_OF[kind], "--procs", "2", **SHORT_LOCKS).ready()
    clock = Clock(f"cell frozen, locks of {LOCK_S:g} s, {kind}")
    await eventually(lambda: all(len(history.runs_of(job)) == 2 for job in taken), "both run elsewhere")
    clock.note("both jobs run on another cell")

    send(frozen, signal.SIGCONT)
    history.open_gate("end")
    await eventually(lambda: len(history.finished()) == 4, "both runs of both jobs finish")
    await eventually(lambda: queue.ended() == 2, "both jobs complete")
    await first.logged("lease")  # it is told, by a refused heartbeat or a refused outcome
    # Both cells serve on: with the second one gone, the first works alone.
    assert second.stop() == 0
    await producer.add_many(50)
    await eventually(lambda: queue.ended() == 52, "the cell that was frozen works on")
    assert {run.pid for run in history.runs() if run.id not in taken} <= set(first.actors().values())
    check(queue, history, producer.acked, rerun=taken)
    for job in taken:
        assert queue.job(job)["stalledCount"] == "1"
        accepted_pid = next(run.pid for run in history.runs_of(job) if run.token == _token(queue, job))
        assert accepted_pid in second.actors().values(), "the outcome of the frozen cell was accepted"
    assert sorted(first.tree()) == sorted(frozen), "a process of the frozen cell was replaced"
    assert len(first.lines("lost the lease")) <= 2, "it is said once a job"
    assert first.stop() == 0


def _token(queue: QueueOnServer, job_id: str) -> str:
    return queue.job(job_id)["x-py:run"].removeprefix("-")


@KINDS
async def test_job_that_lost_its_lease_is_told_to_stop(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    first = await launch(APP_OF[kind], "--procs", "2", **SHORT_LOCKS).ready()
    producer, queue = produce(kind), look(kind)
    job = await producer.add(["wait_or_abort", "end"])
    await eventually(lambda: history.runs_of(job), "the job runs")
    frozen = await freeze(first)
    await launch(APP_OF[kind], "--procs", "2", **SHORT_LOCKS).ready()
    await eventually(lambda: len(history.runs_of(job)) == 2, "it runs elsewhere")
    send(frozen, signal.SIGCONT)
    clock = Clock(f"lost lease, {kind}")
    await eventually(lambda: history.runs_of(job)[0].ended, "the first run sees its abort signal")
    clock.note("the job sees its abort signal")
    assert history.runs_of(job)[1].ended is None
    history.open_gate("end")
    await eventually(lambda: queue.ended() == 1, "the second run completes the job")
    check(queue, history, producer.acked, rerun={job})
    assert not first.lines("Traceback")
    assert sorted(first.tree()) == sorted(frozen)


async def test_two_cells_frozen_in_turn_under_load_accept_every_job_once(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    cells = [launch(SYNC_APP, "--procs", "2", max_stalled_count=10, **SHORT_LOCKS) for _ in range(2)]
    await asyncio.gather(*(cell.ready() for cell in cells))
    producer, queue = produce("sync"), look("sync")
    producer.begin_load(["sleep", 0.01], per_second=50)
    for cell in cells:
        await producer.add_many(300, ["sleep", 0.01])
        frozen = await freeze(cell)
        while not (held := {run.id for run in history.running() if run.pid in frozen}):
            send(frozen, signal.SIGCONT)  # it was between two jobs
            frozen = await freeze(cell)
        await eventually(
            lambda held=held: all(queue.state(job) == "completed" for job in held),  # type: ignore[misc]
            "what the frozen cell held is done by the other",
        )
        send(frozen, signal.SIGCONT)
    acked = await producer.end_load()
    await eventually(lambda: queue.ended() == len(acked), "all jobs complete")
    check(queue, history, acked, rerun=None)
    assert [cell.stop() for cell in cells] == [0, 0]


@KINDS
async def test_only_cell_keeps_its_jobs_when_it_thaws(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    """Its leases have run out, but nobody else has taken them: it must not take them from itself."""
    runtime = await launch(APP_OF[kind], "--procs", "2", **SHORT_LOCKS).ready()
    producer, queue = produce(kind), look(kind)
    jobs = [await producer.add(["wait", "end"]), await producer.add(["wait", "end"], lifo=True)]
    await eventually(lambda: len(history.running()) == 2, "both jobs run")
    frozen = await freeze(runtime)
    await eventually(lambda: min(age_of_lease_s(queue, job) for job in jobs) > 3 * LOCK_S, "the leases end")
    send(frozen, signal.SIGCONT)
    await eventually(
        lambda: max(age_of_lease_s(queue, job) for job in jobs) < LOCK_S, "the leases are renewed"
    )
    history.open_gate("end")
    await eventually(lambda: queue.ended() == 2, "both jobs complete")
    check(queue, history, producer.acked)
    assert all("stalledCount" not in queue.job(job) for job in jobs)
    assert sorted(runtime.tree()) == sorted(frozen)
    assert runtime.stop() == 0
