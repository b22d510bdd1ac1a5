"""The supervisor is killed: everything of it goes with it, and its jobs go back to the queue."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.faults.conftest import APP_OF, SYNC_APP, Launch, Look, Produce
from tests.testkit.checker import check
from tests.testkit.effects import History
from tests.testkit.process_tree import holders_of, is_gone, memory_files_of
from tests.testkit.runtime import Clock, Runtime
from tests.testkit.waiting import POLL_S, eventually

# Two seconds are the promise. Polling for it costs a look at every process of the machine.
GONE_WITHIN_S = 2.0
SLACK_S = 0.5
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


async def kill_supervisor(runtime: Runtime, what: str) -> None:
    """SIGKILL, then wait until no process, memory file or connection of it is left; fails after the bound."""
    tree = runtime.tree()
    memory = memory_files_of(tree)
    assert memory, "the shared memory was not found, so that its end could not be seen either"
    os.kill(runtime.pid, signal.SIGKILL)
    clock = Clock(what)
    await eventually(lambda: all(map(is_gone, tree)), "every process is gone", GONE_WITHIN_S + SLACK_S)
    assert clock.note("every process is gone") < GONE_WITHIN_S + SLACK_S
    assert runtime.tree() == [], "a process was forked while the tree died"
    assert holders_of(memory) == []
    runtime.wait()


@KINDS
async def test_killed_supervisor_leaves_nothing_behind_and_its_jobs_uncharged_in_the_queue(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "2").ready()
    producer, queue = produce(kind), look(kind)
    await producer.add_many(20)
    await eventually(lambda: queue.ended() == 20, "some jobs complete")
    interrupted = await producer.add_many(2, ["wait", "second start"])
    lifo = await producer.add(["wait", "second start"], lifo=True)
    await eventually(lambda: len(history.running()) >= 2, "jobs run")
    await producer.add_many(100, ["sleep", 0.001])

    await kill_supervisor(runtime, f"supervisor killed, {kind}")
    names = [client["name"] for client in queue.client.client_list()]
    assert not [name for name in names if name in ("glidemq-gateway", "glidemq-reader")]
    waiting = [*interrupted, lifo]
    assert {queue.state(job) for job in waiting} == {"waiting"}
    assert (await producer.queue.get_job_counts())["active"] == 0

    history.open_gate("second start")
    second = await launch(APP_OF[kind], "--procs", "2").ready()
    await eventually(lambda: queue.ended() == len(producer.acked), "a new supervisor completes all jobs")
    cut_short = {run.id for run in history.running()}
    assert cut_short >= {job for job in waiting if len(history.runs_of(job)) > 1}
    check(queue, history, producer.acked, rerun=cut_short)
    assert second.stop() == 0


@KINDS
async def test_outcomes_of_the_last_moment_are_delivered_by_the_orphaned_gateway(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    """Killed again and again under a load of short jobs: what has finished is not run a second time."""
    producer, queue = produce(kind), look(kind)
    await producer.add_many(1500, ["sleep", 0.002])
    for _ in range(3):
        runtime = await launch(APP_OF[kind], "--procs", "2").ready()
        began = queue.ended()
        await eventually(lambda began=began: queue.ended() > began + 50, "work has begun")  # type: ignore[misc]
        await kill_supervisor(runtime, f"supervisor killed under load, {kind}")
        assert queue.pending() == queue.returned(), "a job was left in the hands of the dead"
    assert queue.ended() < 1500, "there was no load"
    await launch(APP_OF[kind], "--procs", "2").ready()
    await eventually(lambda: queue.ended() == 1500, "all jobs complete")
    check(queue, history, producer.acked, rerun=None)
    # A process may die between its last line of history and the ring: one job each time, no more.
    again = [runs for runs in history.by_job(kind).values() if len(runs) > 1]
    assert len([runs for runs in again if runs[0].ended is not None]) <= 3 * 2


async def test_embedded_server_dies_with_its_killed_supervisor_and_keeps_the_jobs(
    launch: Launch, produce: Produce, history: History, tmp_path: Path
) -> None:
    url = f"embedded://{tmp_path / 'data'}"
    runtime = await launch(SYNC_APP, "--procs", "2", url=url).ready()
    producer = produce("sync", url)
    done = await producer.add_many(30)
    left = await producer.add_many(2, ["wait", "second start"])
    await eventually(lambda: len(history.runs()) == 32, "jobs run")
    await producer.queue.close()  # a producer holds the embedded server too
    keeper, server = (int(line.split()[1]) for line in (tmp_path / "data" / "pids").read_text().splitlines())
    socket = Path((tmp_path / "data" / "endpoint").read_text().strip())
    assert socket.is_socket()

    await kill_supervisor(runtime, "supervisor killed, embedded server")
    await eventually(lambda: is_gone(server) and is_gone(keeper), "the server is gone", SLACK_S)
    assert not socket.exists()

    second = await launch(SYNC_APP, "--procs", "2", url=url).ready()
    history.open_gate("second start")
    again = produce("sync", url)
    assert [job.id for job in await again.queue.get_jobs("completed")][:1]
    await again.add_many(5)

    while (await again.queue.get_job_counts())["completed"] < 37:
        await asyncio.sleep(POLL_S)
    assert {len(history.runs_of(job)) for job in left} == {2}
    assert {len(history.runs_of(job)) for job in done} == {1}
    assert second.stop() == 0
