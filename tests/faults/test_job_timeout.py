"""A job overruns its timeout: it fails for that, whatever it is doing, and nobody else pays."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.faults.conftest import APP_OF, ASYNC_APP, SYNC_APP, Launch, Look, Produce
from tests.testkit.checker import check
from tests.testkit.effects import History
from tests.testkit.runtime import Clock
from tests.testkit.waiting import eventually

REASON = "Job timeout exceeded"
TIMEOUT_S = 0.3
GRACE_S = 0.5
SLACK_S = 1.0
NATIVE = pytest.mark.parametrize(
    "deed", [["hash_for_ever"], ["sum_for_ever"], ["ignore_interruptions", "never"]]
)


@pytest.mark.parametrize(
    ("kind", "deed"),
    [
        ("sync", ["spin", 60]),
        ("sync", ["wait", "never"]),
        ("sync", ["match_for_ever"]),
        ("async", ["wait", "never"]),
    ],
)
async def test_python_code_is_interrupted_and_its_process_lives(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str, deed: list[Any]
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "1").ready()
    before = runtime.tree()
    producer, queue = produce(kind), look(kind)
    overrunning = await producer.add(deed, timeout=TIMEOUT_S)
    clock = Clock(f"timeout of {TIMEOUT_S:g} s, {kind} {deed[0]}")
    await eventually(lambda: queue.state(overrunning) == "failed", "the job fails")
    assert TIMEOUT_S <= clock.note("failed") < TIMEOUT_S + SLACK_S
    after = await producer.add_many(20)
    await eventually(lambda: queue.ended() == 21, "the process works on")
    check(queue, history, producer.acked, failed={overrunning}, attempts_made={overrunning: 1})
    assert queue.job(overrunning)["failedReason"] == REASON
    assert len(after) == 20
    (line,) = runtime.lines(f"job {overrunning} of ")
    assert f"overran its timeout of {TIMEOUT_S:g} s, attempt 1 of 1" in line
    assert kind == "async" or "deeds.py" in runtime.log(), "the log does not tell where the code was"
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"


@NATIVE
async def test_code_that_cannot_be_interrupted_is_killed_after_the_grace(
    launch: Launch, produce: Produce, look: Look, history: History, deed: list[Any]
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "2", "--kill-grace", str(GRACE_S)).ready()
    producer, queue = produce("sync"), look("sync")
    untouched = await producer.add(["wait", "end"])
    await eventually(lambda: history.runs_of(untouched), "another job runs")
    overrunning = await producer.add(deed, timeout=TIMEOUT_S)
    clock = Clock(f"timeout of {TIMEOUT_S:g} s and grace of {GRACE_S:g} s, {deed[0]}")
    await eventually(lambda: queue.state(overrunning) == "failed", "the job fails")
    assert TIMEOUT_S + GRACE_S <= clock.note("failed") < TIMEOUT_S + GRACE_S + SLACK_S
    await producer.add_many(20)
    history.open_gate("end")
    await eventually(lambda: queue.ended() == 22, "all other jobs complete")
    check(queue, history, producer.acked, failed={overrunning}, attempts_made={overrunning: 1})
    assert queue.job(overrunning)["failedReason"] == REASON
    assert "x-py:crashes" not in queue.job(overrunning), "it was killed on purpose, it did not crash"
    victim = history.runs_of(overrunning)[0].pid
    assert victim not in runtime.tree()
    assert history.runs_of(untouched)[0].pid in runtime.tree()
    assert runtime.lines("on purpose (job timeout)")
    assert runtime.stop() == 0


async def test_timeouts_leave_attempts_to_be_retried_and_never_end_the_supervisor(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    runtime = await launch(
        SYNC_APP, "--procs", "2", "--kill-grace", "0.05", restart_intensity=2, restart_window=60
    ).ready()
    producer, queue = produce("sync"), look("sync")
    hopeless = await producer.add(["sum_for_ever"], timeout=0.1, attempts=3)
    brief = await producer.add(
        ["hash_for_ever_once"], timeout=0.1, attempts=2, backoff={"type": "fixed", "delay": 0.2}
    )
    await producer.add_many(50, ["sleep", 0.005])
    await eventually(lambda: queue.ended() == 52, "all jobs end")
    check(queue, history, producer.acked, failed={hopeless}, attempts_made={hopeless: 3, brief: 1})
    assert queue.job(hopeless)["failedReason"] == REASON
    assert len(history.runs_of(hopeless)) == 3
    assert runtime.stop() == 0


async def test_jobs_behind_one_that_is_killed_run_once_elsewhere(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    await launch(SYNC_APP, "--procs", "1", "--kill-grace", "0.2", max_ring_wait=10).ready()
    producer, queue = produce("sync"), look("sync")
    await producer.add_many(50)
    await eventually(lambda: queue.ended() == 50, "short jobs teach the runtime to fetch ahead")
    stuck = (await producer.add_each([[["sum_for_ever"]], *[[]] * 40], timeout=0.2))[0]
    await eventually(lambda: queue.ended() == 91, "all jobs end")
    check(queue, history, producer.acked, failed={stuck}, attempts_made={stuck: 1})


async def test_coroutine_that_ignores_its_cancellation_is_left_behind(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    runtime = await launch(ASYNC_APP, "--procs", "1", "--kill-grace", "0.2").ready()
    before = runtime.tree()
    producer, queue = produce("async"), look("async")
    stubborn = await producer.add(["ignore_cancellation", "end"], timeout=TIMEOUT_S)
    await eventually(lambda: queue.state(stubborn) == "failed", "the job fails")
    history.open_gate("end")
    await eventually(lambda: history.finished(), "its coroutine ends much later")
    await producer.add_many(20)
    await eventually(lambda: queue.ended() == 21, "the process works on")
    check(queue, history, producer.acked, failed={stubborn}, attempts_made={stubborn: 1})
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"


async def test_coroutine_that_blocks_its_loop_past_its_timeout_costs_the_process(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    runtime = await launch(ASYNC_APP, "--procs", "1", "--kill-grace", "0.3").ready()
    producer, queue = produce("async"), look("async")
    neighbour = await producer.add(["wait", "end"])
    await eventually(lambda: history.runs_of(neighbour), "another job runs in the same process")
    blocking = await producer.add(["sum_for_ever"], timeout=TIMEOUT_S)
    clock = Clock("timeout of a coroutine that blocks its loop")
    await eventually(lambda: queue.state(blocking) == "failed", "the job fails")
    assert clock.note("failed") < TIMEOUT_S + 2 * 0.3 + SLACK_S
    history.open_gate("end")
    await eventually(lambda: queue.ended() == 2, "the other job runs again and completes")
    check(queue, history, producer.acked, failed={blocking}, rerun={neighbour}, attempts_made={blocking: 1})
    assert "x-py:crashes" not in queue.job(neighbour)
    assert queue.job(blocking)["failedReason"] == REASON
    assert runtime.stop() == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_processor_s_own_timeout_holds_for_jobs_without_one(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    await launch(APP_OF[kind], "--procs", "1").ready()
    producer, queue = produce("brisk"), look("brisk")
    slow = await producer.add(["wait", "never"])
    patient = await producer.add(["sleep", 0.5], timeout=60)
    await eventually(lambda: queue.ended() == 2, "both end")
    check(queue, history, producer.acked, failed={slow}, attempts_made={slow: 1})
    assert queue.job(slow)["failedReason"] == REASON
    assert queue.state(patient) == "completed"


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_job_that_ends_just_when_its_time_is_up_has_one_outcome(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    """The interruption may meet any instruction on the way out of the processor, and must not leave the job."""
    lengths = random.Random(7)
    runtime = await launch(APP_OF[kind], "--procs", "2").ready()
    before = runtime.tree()
    producer, queue = produce(kind), look(kind)
    deed = "spin" if kind == "sync" else "sleep"
    jobs: list[list[Any]] = [
        [[deed, lengths.uniform(0.01, 0.06)], ["log", "on the way out"]] for _ in range(200)
    ]
    await producer.add_each(jobs, timeout=0.03)
    await eventually(lambda: queue.ended() == 200, "all jobs end")
    failed = queue.ids(queue.keys.failed)
    assert 20 < len(failed) < 200, "not at the edge"
    check(queue, history, producer.acked, failed=failed, attempts_made=dict.fromkeys(failed, 1))
    assert {queue.job(job)["failedReason"] for job in failed} == {REASON}
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"
    assert runtime.stop() == 0
