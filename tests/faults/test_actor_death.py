"""An actor process dies in mid-job: its jobs run again at once, its neighbours never notice."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.conftest import APP_OF, ASYNC_APP, SYNC_APP, Launch, Look, Produce
from tests.testkit.checker import check
from tests.testkit.effects import History
from tests.testkit.runtime import Clock
from tests.testkit.waiting import eventually

# What a death costs is far below this: the bound leaves room for a busy machine.
AT_ONCE_S = 1.0


@pytest.mark.exclusive
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_job_of_a_killed_actor_runs_again_at_once_and_no_other_is_touched(
    launch: Launch, produce: Produce, look: Look, history: History, number: signal.Signals
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "3").ready()
    producer, queue = produce("sync"), look("sync")
    blocked = await producer.add_many(2, ["wait", "end"])
    await eventually(lambda: len(history.running()) == 2, "two of three actors run a job")
    victim = history.running()[0]

    clock = Clock(f"actor killed by {number.name}")
    os.kill(victim.pid, number)
    await eventually(lambda: len(history.runs_of(victim.id)) == 2, "the job runs again")
    assert clock.note("its job runs again", history.runs_of(victim.id)[1].at) < AT_ONCE_S

    history.open_gate("end")
    await producer.add_many(50)
    await eventually(lambda: queue.ended() == len(producer.acked), "all jobs complete")
    check(queue, history, producer.acked, rerun={victim.id})
    assert sorted(len(history.runs_of(job)) for job in blocked) == [1, 2]
    assert queue.job(victim.id)["x-py:crashes"] == "1"
    assert all("x-py:crashes" not in queue.job(job) for job in producer.acked if job != victim.id)
    assert runtime.stop() == 0


async def test_unstarted_jobs_behind_a_killed_one_run_once_and_uncharged(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    # Jobs may wait in the rings for as long as they like, so that many lie behind the one that blocks.
    await launch(SYNC_APP, "--procs", "1", max_ring_wait=10).ready()
    producer, queue = produce("sync"), look("sync")
    await producer.add_many(50)
    await eventually(lambda: queue.ended() == 50, "short jobs teach the runtime to fetch ahead")
    blocker, *_ = await producer.add_each([[["wait", "end"]], *[[]] * 40])
    await eventually(
        lambda: history.runs_of(blocker) and queue.pending() > 20,
        "jobs lie in the ring behind the one that runs",
    )

    clock = Clock("actor killed with a full ring")
    os.kill(history.runs_of(blocker)[0].pid, signal.SIGKILL)
    history.open_gate("end")
    await eventually(lambda: queue.ended() == len(producer.acked), "all jobs complete")
    clock.note("all 41 jobs are complete, on a new process")
    check(queue, history, producer.acked, rerun={blocker})
    assert [job for job in producer.acked if "x-py:crashes" in queue.job(job)] == [blocker]


@pytest.mark.exclusive
async def test_crashed_job_runs_again_at_once_on_a_busy_host(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    """The job must run alone in its process; a queue that never empties must not keep it from that."""
    await launch(SYNC_APP, "--procs", "2").ready()
    producer, queue = produce("sync"), look("sync")
    await producer.add_many(3000, ["sleep", 0.002])
    crasher = await producer.add(["die_once", "SIGKILL"], lifo=True)
    await producer.add_many(1000, ["sleep", 0.002])
    await eventually(lambda: len(history.runs_of(crasher)) == 1, "the job starts")
    clock = Clock("crash on a busy host")
    await eventually(lambda: len(history.runs_of(crasher)) == 2, "the job runs again")
    assert clock.note("its job runs again", history.runs_of(crasher)[1].at) < AT_ONCE_S
    assert queue.ended() < len(producer.acked) - 500, "the host was not busy"
    await eventually(lambda: queue.ended() == len(producer.acked), "all jobs complete")
    check(queue, history, producer.acked, rerun={crasher})


async def test_third_crash_fails_the_job_by_the_signal_s_name(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "2").ready()
    producer, queue = produce("sync"), look("sync")
    poison = await producer.add(["read_nowhere"], attempts=5)
    good = await producer.add_many(200, ["sleep", 0.005])
    clock = Clock("poison")
    await eventually(lambda: poison in queue.terminal(), "the job is given up")
    clock.note("failed for good")
    await eventually(lambda: queue.ended() == len(producer.acked), "all jobs end")
    check(queue, history, producer.acked, failed={poison}, rerun={poison})
    job = queue.job(poison)
    assert job["failedReason"] == "worker process killed by SIGSEGV 3 times"
    assert job["x-py:crashes"] == "3"
    assert len(history.runs_of(poison)) == 3
    assert len(good) == 200
    assert runtime.stop() == 0


async def test_jobs_that_die_together_run_again_alone_until_the_culprit_is_found(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    runtime = await launch(ASYNC_APP, "--procs", "2").ready()
    producer, queue = produce("async"), look("async")
    innocent = await producer.add_many(10, ["wait", "start"], ["sleep", 0.1])
    culprit = await producer.add(["wait", "start"], ["die", "SIGABRT"])
    await eventually(lambda: len(history.running()) == 11, "all jobs run")
    neighbours = {
        run.id
        for run in history.running()
        if run.pid == history.runs_of(culprit)[0].pid and run.id != culprit
    }
    assert len(neighbours) >= 3
    history.open_gate("start")
    await eventually(lambda: queue.ended() == len(producer.acked), "all jobs end")

    check(queue, history, producer.acked, failed={culprit}, rerun={culprit, *neighbours})
    assert queue.job(culprit)["failedReason"] == "worker process killed by SIGABRT 3 times"
    # The first death names nobody; from then on each suspect runs with no other beside it.
    assert len(history.runs_of(culprit)) == 4
    assert all(len(history.runs_of(job)) <= 2 for job in innocent)
    assert all(queue.job(job).get("x-py:crashes", "0") == "0" for job in innocent)
    assert runtime.stop() == 0


@pytest.mark.parametrize(("kind", "job_ran"), [("sync", "job {} of 'sync'"), ("async", "a job")])
async def test_supervisor_and_gateway_tell_of_a_death_alike(
    launch: Launch, produce: Produce, look: Look, kind: str, job_ran: str
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "1").ready()
    producer, queue = produce(kind), look(kind)
    fatal = await producer.add(["die_once", "SIGKILL"])
    await eventually(lambda: queue.ended() == 1, "the job completes")
    told_by_gateway = await runtime.logged(f"died by SIGKILL while running job {fatal} of {kind!r}")
    told_by_supervisor = await runtime.logged(f"was killed by SIGKILL while running {job_ran.format(fatal)};")
    (victim,) = {label for label in runtime.actors() if f" {label} " in told_by_gateway.split("]", 1)[1]}
    assert f" {victim} (pid " in told_by_supervisor
