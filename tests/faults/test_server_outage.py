"""The server dies, freezes, or loses its memory: hosts wait for it, and no completed job runs again."""

from __future__ import annotations

import asyncio
import shutil
import signal

import pytest

from tests.faults.conftest import APP_OF, SYNC_APP, Launch, Look, Produce
from tests.testkit.checker import check
from tests.testkit.effects import History
from tests.testkit.runtime import Clock
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


# Clients reconnect within 0.64 s, calls are repeated every second at the latest.
GOES_ON_S = 5.0


@KINDS
async def test_server_killed_under_load_and_restarted_with_its_log_loses_no_acknowledged_job(
    launch: Launch, produce: Produce, look: Look, history: History, own_server: ValkeyServer, kind: str
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "2").ready()
    before = runtime.tree()
    producer, queue = produce(kind), look(kind)
    await producer.add_many(600, ["sleep", 0.002])
    await producer.add_many(100, ["sleep", 0.002], priority=5)
    await producer.add_many(100, ["sleep", 0.002], lifo=True)
    long = await producer.add(["wait", "end"], lifo=True)
    producer.begin_load(["sleep", 0.002], per_second=200)
    for outage in range(3):
        done = len(history.finished())
        await eventually(lambda done=done: len(history.finished()) > done + 30, "work goes on")  # type: ignore[misc]
        own_server.kill()
        if outage == 2:
            history.open_gate("end")
            await eventually(
                lambda: history.runs_of(long)[0].ended, "a job finishes while there is no server"
            )
        await asyncio.to_thread(own_server.start)
        clock = Clock(f"server restarted with its log, {kind}")
        ended = queue.ended()
        await eventually(lambda ended=ended: queue.ended() > ended, "it hears of finished jobs")  # type: ignore[misc]
        assert clock.note("the server hears of finished jobs") < GOES_ON_S
    acked = await producer.end_load()
    await eventually(lambda: queue.ended() >= len(acked), "all jobs complete", within_s=60)
    await eventually(lambda: not queue.unfinished(), "nothing is left", within_s=60)
    check(queue, history, acked, doubtful=producer.doubtful)
    assert len(history.runs_of(long)) == 1
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"
    assert runtime.stop() == 0


async def test_server_that_comes_back_empty_serves_new_jobs_without_a_restart(
    launch: Launch, produce: Produce, look: Look, history: History, own_server: ValkeyServer
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "2").ready()
    before = runtime.tree()
    producer, queue = produce("sync"), look("sync")
    await producer.add_many(200, ["sleep", 0.005])
    running = await producer.add_many(2, ["wait", "end"], lifo=True)
    await eventually(lambda: all(history.runs_of(job) for job in running), "jobs run")
    own_server.kill()
    shutil.rmtree(own_server.directory / "appendonlydir")
    await asyncio.to_thread(own_server.start)
    clock = Clock("server back, empty")
    assert not queue.client.keys("*job*")
    history.open_gate("end")  # the server does not know these two any more: their outcomes are of no use

    new = [await producer.add(job_id=f"new-{number}") for number in range(20)]
    new += [await producer.add(job_id="urgent", priority=1), await producer.add(job_id="later", delay=0.2)]
    await eventually(lambda: queue.ended() == len(new), "new jobs are processed")
    assert clock.note("22 new jobs are complete") < GOES_ON_S
    assert queue.terminal() == set(new)
    assert queue.unfinished() == {}
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"
    assert not runtime.lines("Traceback")
    assert runtime.stop() == 0


@pytest.mark.parametrize("flush", ["FUNCTION FLUSH", "FLUSHALL"])
async def test_flush_under_load_is_repaired_by_whoever_notices(
    launch: Launch, produce: Produce, look: Look, history: History, flush: str
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "2").ready()
    before = runtime.tree()
    producer, queue = produce("sync"), look("sync")
    producer.begin_load(["sleep", 0.002], per_second=200)
    for _ in range(5):
        done = len(history.finished())
        await eventually(lambda done=done: len(history.finished()) > done + 50, "work goes on")  # type: ignore[misc]
        queue.client.execute_command(flush)
    acked = await producer.end_load()
    if flush == "FUNCTION FLUSH":
        await eventually(lambda: queue.ended() == len(acked), "all jobs complete")
        check(queue, history, acked, doubtful=producer.doubtful)
    else:
        last = [await producer.add(job_id=f"last-{number}") for number in range(20)]
        await eventually(lambda: set(last) <= queue.terminal(), "jobs added after the flush complete")
    assert producer.refused == 0
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"
    assert runtime.stop() == 0


@KINDS
async def test_frozen_server_is_waited_for(
    launch: Launch, produce: Produce, look: Look, history: History, own_server: ValkeyServer, kind: str
) -> None:
    """Leases of one second run out meanwhile; since nobody could renew them, nobody judges by them."""
    runtime = await launch(APP_OF[kind], "--procs", "2", lock_duration=1, stalled_interval=1).ready()
    before = runtime.tree()
    producer, queue = produce(kind), look(kind)
    meanwhile = await producer.add(["wait", "meanwhile"])
    long = await producer.add(["wait", "end"])
    await eventually(lambda: len(history.running()) == 2, "two jobs run")
    await producer.add_many(300, ["sleep", 0.002])
    own_server.signal(signal.SIGSTOP)
    history.open_gate("meanwhile")
    await eventually(lambda: history.runs_of(meanwhile)[0].ended, "a job finishes while the server is frozen")
    await asyncio.sleep(3.0)  # the outage itself: three times what a lease lasts
    own_server.signal(signal.SIGCONT)
    clock = Clock(f"server frozen for 3 s, {kind}")
    await eventually(lambda: queue.state(meanwhile) == "completed", "its completion arrives")
    assert clock.note("it accepts what finished meanwhile") < GOES_ON_S
    history.open_gate("end")
    await eventually(lambda: queue.ended() == len(producer.acked), "all jobs complete")
    check(queue, history, producer.acked)
    assert len(history.runs_of(long)) == 1
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"
    assert runtime.stop() == 0
