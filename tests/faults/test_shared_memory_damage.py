"""Native code of a processor writes over the memory that its process shares with the gateway."""

from __future__ import annotations

import pytest

from tests.faults.conftest import APP_OF, Launch, Look, Produce
from tests.testkit.checker import check
from tests.testkit.effects import History
from tests.testkit.waiting import eventually


@pytest.mark.parametrize("pattern", [0x00, 0xA5, 0xFF])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_overwritten_rings_cost_their_actor_and_no_job(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str, pattern: int
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "2").ready()
    producer, queue = produce(kind), look(kind)
    await producer.add_many(100, ["sleep", 0.002])
    vandal = await producer.add(["scribble_once", pattern], ["sleep", 0.05])
    await producer.add_many(200, ["sleep", 0.002])
    await eventually(lambda: queue.ended() == 301, "all jobs complete")
    check(queue, history, producer.acked, rerun=None)
    assert len(history.runs_of(vandal)) == 2
    # Whatever lay in the overwritten rings runs again; the other actor's jobs do not.
    again = [job for job, runs in history.by_job(kind).items() if len(runs) > 1]
    assert {history.runs_of(job)[0].pid for job in again} == {history.runs_of(vandal)[0].pid}
    assert runtime.gateway in runtime.tree(), "the gateway was replaced"
    assert history.runs_of(vandal)[0].pid not in runtime.tree()
    await producer.add_many(100, ["sleep", 0.002])
    await eventually(lambda: queue.ended() == 401, "both actors work on")
    assert runtime.stop() == 0
