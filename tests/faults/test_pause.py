"""A paused queue starts nothing, whatever lies where; a resumed one goes on by itself."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.conftest import APP_OF, Launch, Look, Produce
from tests.testkit.checker import check
from tests.testkit.effects import History
from tests.testkit.runtime import Clock
from tests.testkit.waiting import eventually


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_pause_under_load_stops_every_kind_of_start_and_resume_goes_on(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "2").ready()
    producer, queue = produce(kind), look(kind)
    await producer.add_many(1000, ["sleep", 0.003])
    await producer.add_many(100, ["sleep", 0.003], priority=4)
    await producer.add_many(100, ["sleep", 0.003], lifo=True)
    await eventually(lambda: len(history.finished()) > 50, "work has begun")
    await producer.queue.pause()
    clock = Clock(f"pause under load, {kind}")
    # What was activated before the pause may still start: nothing that is given back may.
    await eventually(lambda: queue.pending() == queue.returned() and not history.running(), "all is quiet")
    clock.note("nothing runs and nothing is held")
    started = len(history.runs())
    assert started < 1150, "there was nothing left to pause"
    for options in ({}, {"lifo": True}, {"priority": 1}, {"delay": 0.05}, {"attempts": 2}):
        await producer.add_many(3, ["sleep", 0.001], **options)
    # Longer than any poll, blocking read or promotion: a start would show.
    await asyncio.sleep(1.5)
    assert len(history.runs()) == started

    await producer.queue.resume()
    clock = Clock(f"resume, {kind}")
    await eventually(lambda: len(history.runs()) > started, "work goes on")
    assert clock.note("a job starts", history.runs()[started].at) < 1.0
    await eventually(lambda: queue.ended() == len(producer.acked), "all jobs complete")
    check(queue, history, producer.acked)
    assert runtime.stop() == 0


async def test_pause_survives_the_gateway_and_holds_for_a_new_host(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    producer, queue = produce("sync"), look("sync")
    await producer.queue.pause()
    await producer.add_many(10)
    runtime = await launch(APP_OF["sync"], "--procs", "1").ready()
    await eventually(lambda: queue.consumers(), "it has asked for jobs")
    await asyncio.sleep(1.0)
    assert history.runs() == []
    await producer.queue.resume()
    await eventually(lambda: queue.ended() == 10, "all jobs complete")
    check(queue, history, producer.acked)
    assert runtime.stop() == 0
