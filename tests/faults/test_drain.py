"""SIGTERM in the middle of work: what can finish does, everything else goes back uncharged, the exit status is 0."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.conftest import APP_OF, SYNC_APP, Launch, Look, Produce
from tests.testkit.checker import check
from tests.testkit.effects import History
from tests.testkit.runtime import Clock
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

AFTER_DEADLINE_S = 2.0
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@KINDS
async def test_running_jobs_finish_and_no_other_starts(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "2", "--drain-timeout", "30").ready()
    producer, queue = produce(kind), look(kind)
    await producer.add_many(1500, ["sleep", 0.003])
    running = await producer.add_many(2, ["wait", "end"], lifo=True)
    await eventually(lambda: all(history.runs_of(job) for job in running), "the long jobs run")
    runtime.signal(signal.SIGTERM)
    await runtime.logged("SIGTERM received")
    await eventually(lambda: len(history.running()) <= 2, "what else ran has finished")
    began = len(history.runs())
    late = await producer.add_many(5)
    assert runtime.process is not None
    assert runtime.process.poll() is None, "it did not wait for the running jobs"
    history.open_gate("end")
    clock = Clock(f"drained after its last job, {kind}")
    assert runtime.wait() == 0
    assert clock.note("exit") < AFTER_DEADLINE_S
    assert len(history.runs()) == began
    assert {queue.state(job) for job in running} == {"completed"}
    assert {queue.state(job) for job in late} == {"waiting"}
    assert queue.pending() == queue.returned()
    assert runtime.tree() == []

    await launch(APP_OF[kind], "--procs", "2").ready()
    await eventually(lambda: queue.ended() == len(producer.acked), "the next supervisor does the rest")
    check(queue, history, producer.acked)


@KINDS
async def test_jobs_that_outlast_the_deadline_go_back_uncharged(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "2", "--drain-timeout", "1").ready()
    producer, queue = produce(kind), look(kind)
    # First the prioritized one: beside two others it would wait for a slot, and be none that is given back.
    outlasting = [await producer.add(["wait", "second start"], priority=3)]
    await eventually(lambda: history.running(), "it runs")
    outlasting += await producer.add_many(2, ["wait", "second start"], attempts=3)
    await eventually(lambda: len(history.running()) == 2 + (kind == "async"), "every slot is busy")
    await producer.add_many(10)
    runtime.signal(signal.SIGTERM)
    clock = Clock(f"SIGTERM with a deadline of 1 s, {kind}")
    assert runtime.wait() == 0
    assert 1.0 <= clock.note("exit") < 1.0 + AFTER_DEADLINE_S
    assert runtime.tree() == []
    for job in outlasting:
        assert queue.state(job) == "waiting"
        assert int(queue.job(job).get("attemptsMade", 0)) == 0
        assert "x-py:crashes" not in queue.job(job)

    history.open_gate("second start")
    await launch(APP_OF[kind], "--procs", "2").ready()
    await eventually(lambda: queue.ended() == len(producer.acked), "the next supervisor does them")
    check(queue, history, producer.acked, rerun=outlasting)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
async def test_second_signal_ends_it_now_and_gives_back_what_runs(
    launch: Launch, produce: Produce, look: Look, history: History, number: signal.Signals
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "2", "--drain-timeout", "600").ready()
    producer, queue = produce("sync"), look("sync")
    running = await producer.add_many(2, ["wait", "never"])
    await eventually(lambda: len(history.running()) == 2, "both actors run a job")
    runtime.signal(signal.SIGTERM)
    await runtime.logged("SIGTERM received")
    runtime.signal(number)
    clock = Clock(f"SIGTERM, then {number.name}")
    assert runtime.wait() == 0
    assert clock.note("exit") < AFTER_DEADLINE_S
    assert {queue.state(job) for job in running} == {"waiting"}
    assert all("x-py:crashes" not in queue.job(job) for job in running)
    assert runtime.tree() == []


async def test_gateway_killed_while_it_drains_is_followed_by_one_that_drains(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "2", "--drain-timeout", "60").ready()
    producer, queue = produce("sync"), look("sync")
    running = await producer.add_many(2, ["wait", "end"])
    await eventually(lambda: len(history.running()) == 2, "both actors run a job")
    waiting = await producer.add_many(3)
    runtime.signal(signal.SIGTERM)
    await runtime.logged("SIGTERM received")
    killed = runtime.gateway
    os.kill(killed, signal.SIGKILL)
    await runtime.replaced("gateway 0", killed)
    history.open_gate("end")
    assert runtime.wait() == 0
    assert {queue.state(job) for job in running} == {"completed"}
    assert {queue.state(job) for job in waiting} == {"waiting"}
    assert len(history.runs()) == 2
    assert runtime.tree() == []


async def test_server_that_is_away_does_not_hold_up_the_end(
    launch: Launch, produce: Produce, history: History, own_server: ValkeyServer
) -> None:
    """Nothing can be given back then: the jobs are recovered by others when their leases expire."""
    runtime = await launch(SYNC_APP, "--procs", "1", "--drain-timeout", "1").ready()
    producer = produce("sync")
    await producer.add(["wait", "never"])
    await eventually(lambda: history.running(), "the job runs")
    own_server.kill()
    runtime.signal(signal.SIGTERM)
    clock = Clock("SIGTERM while the server is away, deadline 1 s")
    assert runtime.wait() == 1, "what it could not give back is a failure"
    assert clock.note("exit") < 1.0 + AFTER_DEADLINE_S
    assert runtime.tree() == []
    assert len(runtime.lines("a gateway does not stop")) == 1
