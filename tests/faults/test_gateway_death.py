"""The gateway is killed: actors work on, its successor takes over, and no job notices."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from typing import Any

import pytest

from tests.faults.conftest import APP_OF, SYNC_APP, Launch, Look, Produce
from tests.testkit.checker import check
from tests.testkit.effects import History
from tests.testkit.process_tree import is_gone
from tests.testkit.runtime import Clock, Runtime
from tests.testkit.waiting import eventually, wait_until

# Two seconds are the promise; importing the client alone takes up to one on a busy machine.
GOES_ON_S = 3.0
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


def kill_gateway(runtime: Runtime) -> int:
    """SIGKILL, and wait until the kernel says that it is done; the pid it had."""
    pid = runtime.gateway
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid), "the gateway is dead")
    return pid


@pytest.mark.exclusive
@KINDS
async def test_gateway_killed_again_and_again_under_load_loses_no_job_and_runs_none_twice(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "2", restart_intensity=20).ready()
    producer, queue = produce(kind), look(kind)
    await producer.add_many(3000, ["sleep", 0.004])
    producer.begin_load(["sleep", 0.002], per_second=100)
    for _ in range(3):
        await eventually(lambda: queue.ended() > 20, "work has begun")
        killed = kill_gateway(runtime)
        clock = Clock(f"gateway killed under load, {kind}")
        ended = queue.ended()
        await eventually(lambda ended=ended: queue.ended() > ended, "processing goes on")  # type: ignore[misc]
        assert clock.note("the server hears of finished jobs again") < GOES_ON_S
        began = len(history.runs())
        await eventually(lambda began=began: len(history.runs()) > began + 5, "new jobs start")  # type: ignore[misc]
        clock.note("new jobs start")
        assert runtime.gateway != killed
    assert queue.ended() < len(producer.acked), "there was no load"
    acked = await producer.end_load()
    await eventually(lambda: queue.ended() == len(acked), "all jobs complete", within_s=60)
    check(queue, history, acked)
    assert runtime.stop() == 0


@pytest.mark.exclusive
@KINDS
async def test_jobs_that_run_while_the_gateway_changes_are_accepted_when_they_finish(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "3").ready()
    producer, queue = produce(kind), look(kind)
    meanwhile = await producer.add(["wait", "meanwhile"])
    failing = await producer.add(["wait", "meanwhile"], ["fail_once", "not yet"], attempts=2)
    long = await producer.add(["wait", "afterwards"])
    await eventually(lambda: len(history.running()) == 3, "all three run")

    killed = kill_gateway(runtime)
    clock = Clock(f"gateway killed while jobs run, {kind}")
    history.open_gate("meanwhile")
    await eventually(lambda: history.finished(), "a job finishes while there is no gateway")
    assert queue.state(meanwhile) == "active"
    await runtime.replaced("gateway 0", killed)
    await eventually(lambda: queue.state(meanwhile) == "completed", "its completion is accepted")
    assert clock.note("what finished meanwhile is accepted") < GOES_ON_S
    await eventually(
        lambda: queue.state(failing) == "completed", "the failure counts, and the job is retried"
    )
    assert queue.state(long) == "active"
    history.open_gate("afterwards")
    await eventually(lambda: queue.ended() == 3, "all jobs complete")
    check(queue, history, producer.acked, attempts_made={failing: 1})
    assert runtime.stop() == 0


@pytest.mark.exclusive
@pytest.mark.parametrize("queue_name", ["own", "brisk"])
@KINDS
async def test_timeout_holds_across_a_change_of_gateways(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str, queue_name: str
) -> None:
    """The job's own, or that of its processor: neither travels through the rings."""
    runtime = await launch(APP_OF[kind], "--procs", "2", "--kill-grace", "0.2").ready()
    name, timeout_s = (kind, 2.0) if queue_name == "own" else ("brisk", 0.3)
    producer, queue = produce(name), look(name)
    options: dict[str, Any] = {"timeout": timeout_s} if queue_name == "own" else {}
    job = await producer.add(["wait", "never"], **options)
    await eventually(lambda: history.runs_of(job), "the job runs")
    kill_gateway(runtime)
    began = history.runs_of(job)[0].at
    await eventually(lambda: queue.state(job) == "failed", "the job fails")
    assert timeout_s <= time.monotonic() - began < timeout_s + GOES_ON_S
    assert queue.job(job)["failedReason"] == "Job timeout exceeded"
    check(queue, history, producer.acked, failed={job}, attempts_made={job: 1})
    assert runtime.stop() == 0


@pytest.mark.exclusive
@KINDS
async def test_command_in_flight_is_answered_or_reported_as_doubtful(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "1").ready()
    producer, queue = produce(kind), look(kind)
    job = await producer.add(["log_until", "enough"])
    lines = 0
    for _ in range(3):
        await eventually(lambda: queue.log_length(job) > lines + 20, "the job logs")  # noqa: B023
        kill_gateway(runtime)
        clock = Clock(f"gateway killed amid commands, {kind}")
        lines = queue.log_length(job)
        await eventually(lambda: queue.log_length(job) > lines, "the job goes on logging")  # noqa: B023
        assert clock.note("the job goes on logging") < GOES_ON_S
    history.open_gate("enough")
    await eventually(lambda: queue.ended() == 1, "the job completes")
    check(queue, history, producer.acked)

    told = json.loads(queue.job(job)["returnvalue"])
    logged, doubtful = told["logged"], told["doubtful"]
    written = [int(line.split()[1]) for line in queue.log(job)]
    assert written == sorted(set(written)), "a line was written twice"
    assert set(logged) <= set(written) <= set(logged) | set(doubtful)
    assert len(doubtful) <= 3, "one command at most is in flight at each death"


@pytest.mark.parametrize("seed", [11, 12])
async def test_gateway_killed_at_any_moment_of_taking_over_loses_nothing(
    launch: Launch, produce: Produce, look: Look, history: History, seed: int
) -> None:
    moments = random.Random(seed)
    runtime = await launch(SYNC_APP, "--procs", "2", restart_intensity=50, restart_backoff_max=0.01).ready()
    producer, queue = produce("sync"), look("sync")
    running = await producer.add_many(2, ["wait", "end"])
    await producer.add_many(300, ["sleep", 0.001])
    await eventually(lambda: len(history.running()) == 2, "both actors run a job")
    for _ in range(5):
        await runtime.replaced("gateway 0", kill_gateway(runtime))
        # The nemesis's choice: from the first import to some time after the first call.
        await asyncio.sleep(moments.uniform(0.0, 0.8))
    history.open_gate("end")
    await eventually(lambda: queue.ended() == len(producer.acked), "all jobs complete")
    check(queue, history, producer.acked)
    assert {len(history.runs_of(job)) for job in running} == {1}
    assert runtime.stop() == 0


async def test_gateway_is_not_delayed_by_imports_that_it_has_no_use_for(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # every import is a line of the log
    runtime = await launch(SYNC_APP, "--procs", "1").ready()
    assert runtime.lines(" glide.glide_client")
    assert not runtime.lines(" trio._core")
    assert runtime.stop() == 0
