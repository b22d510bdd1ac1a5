"""`concurrency` is a promise about code that runs, whatever the runtime fetches ahead."""

from __future__ import annotations

from itertools import accumulate

from tests.faults.conftest import ASYNC_APP, Launch, Look, Produce
from tests.testkit.checker import check
from tests.testkit.effects import History
from tests.testkit.waiting import eventually


async def test_short_jobs_fetched_ahead_wait_for_a_free_slot_of_their_process(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    await launch(ASYNC_APP, "--procs", "1").ready()
    producer, queue = produce("async"), look("async")
    await producer.add_many(400, ["sleep", 0.001])
    await eventually(lambda: queue.ended() == 400, "all jobs complete")
    check(queue, history, producer.acked)
    changes = [(run.at, 1) for run in history.runs()] + [(run.ended or 0.0, -1) for run in history.runs()]
    assert max(accumulate(change for _, change in sorted(changes))) == 8
