"""A worker's limiter caps the starts per window over all hosts; beside the queue's own limit the stricter counts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from glidemq import App, Job, Queue, RateLimit, ValidationError, Worker
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.control_app:app"
# Starts are noted by the processors, some milliseconds after the server has counted them.
SLACK_S = 0.1


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    async with Queue[Any, Any](queue_name, connection=server.url) as made:
        yield made


def most_in_a_window(starts: Sequence[float], window_s: float) -> int:
    """The most starts within any stretch of one window."""
    ordered = sorted(starts)
    return max(sum(1 for other in ordered if start <= other < start + window_s) for start in ordered)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_actor_processes_of_two_supervisors_share_one_window(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str
) -> None:
    name = f"{kind}-limited"
    async with Queue[Any, Any](name, connection=own_server.url) as queue:
        jobs = await queue.add_bulk([("job", None)] * 12)
        for runtime in [launch(APP, "--procs", "2"), launch(APP, "--procs", "2")]:
            await runtime.ready()
        for job in jobs:
            assert await job.wait_until_finished(poll=0.02) == "completed"
        starts = [run.at for run in history.runs(name)]
        assert len(starts) == 12
        # Windows are fixed: around the end of one, two of them may meet.
        assert most_in_a_window(starts, 0.5 - SLACK_S) <= 6
        assert max(starts) - min(starts) >= 3 * 0.5 - SLACK_S, "12 jobs at 3 per window take 4 windows"
        assert max(starts) - min(starts) < 3 * 0.5 + 2.5, "and every window is used"


@pytest.mark.parametrize(
    ("limiter", "global_limit", "least_s"),
    [
        (RateLimit(max=2, duration=0.3), None, 0.6),
        (RateLimit(max=2, duration=0.3), RateLimit(max=1000, duration=1), 0.6),
        (RateLimit(max=1000, duration=1), RateLimit(max=2, duration=0.3), 0.6),
    ],
    ids=["alone", "stricter than the queue's", "less strict than the queue's"],
)
async def test_the_stricter_of_both_limits_counts(
    queue: Queue[Any, Any],
    server: ValkeyServer,
    limiter: RateLimit,
    global_limit: RateLimit | None,
    least_s: float,
) -> None:
    starts: list[float] = []

    async def process(job: Job[Any, Any]) -> None:
        starts.append(time.monotonic())

    if global_limit is not None:
        await queue.set_global_rate_limit(global_limit)
    jobs = await queue.add_bulk([("job", None)] * 6)
    async with Worker[Any, Any](queue.name, process, connection=server.url, concurrency=10, limiter=limiter):
        for job in jobs:
            await job.wait_until_finished(poll=0.01)
    assert least_s - SLACK_S <= max(starts) - starts[0] < least_s + 1.0
    assert most_in_a_window(starts, 0.3 - SLACK_S) <= 4


async def test_a_job_that_a_closed_window_keeps_waiting_holds_no_slot(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    async def process(job: Job[Any, Any]) -> None:
        return None

    async with Worker[Any, Any](
        queue.name, process, connection=server.url, limiter={"max": 1, "duration": 60}
    ):
        first, second = await queue.add_bulk([("job", None)] * 2)
        await first.wait_until_finished(poll=0.01)
        await eventually(lambda: _is(second, "waiting"), "the second waits in the queue")
        # Another worker without a limit of its own takes it at once.
        async with Worker[Any, Any](queue.name, process, connection=server.url):
            assert await second.wait_until_finished(poll=0.01, timeout=10) == "completed"


@pytest.mark.parametrize(
    ("limiter", "text"),
    [
        ({"max": 0, "duration": 1}, "limiter.max must be a positive integer"),
        ({"max": 1, "duration": 0}, "limiter.duration must be a positive"),
        ({"max": 1}, "limiter needs a max and a duration"),
        (5, "limiter must be a RateLimit or a mapping"),
    ],
)
def test_a_malformed_limiter_is_refused(limiter: Any, text: str) -> None:
    async def process(job: Job[Any, Any]) -> None:
        return None

    with pytest.raises(ValidationError, match=text):
        Worker("queue", process, limiter=limiter)
    with pytest.raises(ValidationError, match=text):
        App().processor("queue", limiter=limiter)


async def _is(job: Job[Any, Any], state: str) -> bool:
    return await job.get_state() == state
