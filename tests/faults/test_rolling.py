"""Actor processes are replaced under load, one at a time: no job is lost, none runs again."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.conftest import APP_OF, SYNC_APP, Launch, Look, Produce
from tests.testkit.checker import check
from tests.testkit.effects import History
from tests.testkit.runtime import Clock
from tests.testkit.waiting import eventually

KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.mark.parametrize("preload", [False, True])
@KINDS
async def test_reload_under_load_loses_nothing_and_runs_nothing_twice(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str, preload: bool
) -> None:
    arguments = ["--procs", "2", *(["--preload"] if preload else [])]
    runtime = await launch(APP_OF[kind], *arguments).ready()
    producer, queue = produce(kind), look(kind)
    await producer.add_many(300, ["sleep", 0.003])
    producer.begin_load(["sleep", 0.003], per_second=150)
    gateway, before = runtime.gateway, set(runtime.actors().values())
    for reload in (1, 2):
        done = len(history.finished())
        await eventually(lambda done=done: len(history.finished()) > done + 50, "work goes on")  # type: ignore[misc]
        clock = Clock(f"SIGHUP under load, {kind}{', preloaded' if preload else ''}")
        runtime.signal(signal.SIGHUP)
        await runtime.logged("reloaded: ", times=reload)
        clock.note("both actors are replaced")
    acked = await producer.end_load()
    await eventually(lambda: queue.ended() == len(acked), "all jobs complete")
    check(queue, history, acked)
    assert runtime.gateway == gateway, "the gateway runs none of the app's code"
    after = set(runtime.actors().values())
    assert not before & after
    assert {run.pid for run in history.runs()} >= before, "the first processes were idle"
    assert history.runs()[-1].pid in after
    assert runtime.stop() == 0


async def test_reload_waits_for_running_jobs_and_keeps_the_other_actors_at_work(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "2").ready()
    producer, queue = produce("sync"), look("sync")
    long = await producer.add(["wait", "end"])
    await eventually(lambda: history.runs_of(long), "a long job runs")
    runtime.signal(signal.SIGHUP)
    await runtime.logged("is replaced: the app was reloaded")
    await producer.add_many(100, ["sleep", 0.002])
    await eventually(lambda: queue.ended() == 100, "the other actor, or its successor, works on")
    assert history.runs_of(long)[0].ended is None
    history.open_gate("end")
    await runtime.logged("reloaded: ")
    await eventually(lambda: queue.ended() == 101, "the long job completes")
    check(queue, history, producer.acked)
    assert runtime.stop() == 0


@KINDS
async def test_recycling_by_jobs_under_load_loses_nothing_and_runs_nothing_twice(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "2", "--max-jobs", "100").ready()
    producer, queue = produce(kind), look(kind)
    await producer.add_many(800, ["sleep", 0.002])
    producer.begin_load(["sleep", 0.002], per_second=100)
    await eventually(
        lambda: len(runtime.lines("it has done")) >= 4, "four processes were recycled", within_s=60
    )
    acked = await producer.end_load()
    await eventually(lambda: queue.ended() == len(acked), "all jobs complete", within_s=60)
    check(queue, history, acked)
    assert len({run.pid for run in history.runs()}) >= 4
    assert runtime.stop() == 0


async def test_actor_killed_while_it_is_being_replaced_costs_only_its_own_job(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "2").ready()
    producer, queue = produce("sync"), look("sync")
    victims = await producer.add_many(2, ["wait", "end"])
    await eventually(lambda: len(history.running()) == 2, "both actors run a job")
    await producer.add_many(50)
    runtime.signal(signal.SIGHUP)
    line = await runtime.logged("is replaced: the app was reloaded")
    leaving = next(run for run in history.running() if f"(pid {run.pid})" in line)
    os.kill(leaving.pid, signal.SIGKILL)
    await eventually(lambda: len(history.runs_of(leaving.id)) == 2, "its job runs again")
    history.open_gate("end")
    await runtime.logged("reloaded: ")
    await eventually(lambda: queue.ended() == 52, "all jobs complete")
    check(queue, history, producer.acked, rerun={leaving.id})
    assert leaving.id in victims
    assert runtime.stop() == 0
