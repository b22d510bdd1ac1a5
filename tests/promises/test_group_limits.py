"""A group's concurrency, window and token bucket hold over all processes, and cost no more delay than they have to."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import pytest

from glidemq import Job, Ordering, Queue, RateLimit, TokenBucket, ValidationError, Worker
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer

APP = "tests.promises.control_app:app"
# Starts are noted by the processors, some milliseconds after the server has let them go.
SLACK_S = 0.1
# The documents allow 5 s between the end of a window and the start of what waits for it.
LATENCY_S = 0.5


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    async with Queue[Any, Any](queue_name, connection=server.url) as made:
        yield made


async def starts_of(
    queue: Queue[Any, Any], server: ValkeyServer, group: Ordering, costs: Sequence[float]
) -> list[float]:
    """Run a job of the group for each cost; when each has started, in seconds from the first start."""
    starts: list[float] = []

    async def process(job: Job[Any, Any]) -> None:
        starts.append(time.monotonic())

    jobs = await queue.add_bulk([("job", None, {"ordering": group, "cost": cost}) for cost in costs])
    async with Worker[Any, Any](queue.name, process, connection=server.url, concurrency=10):
        for job in jobs:
            assert await job.wait_until_finished(poll=0.01) == "completed"
    return [start - starts[0] for start in starts]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_concurrency_is_never_exceeded_by_the_processes_of_two_supervisors(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str
) -> None:
    name, limit, jobs = f"{kind}-ordered", 3, 40
    async with Queue[Any, Any](name, connection=own_server.url) as queue:
        for runtime in [launch(APP, "--procs", "2"), launch(APP, "--procs", "2")]:
            await runtime.ready()
        group = Ordering(key="a", concurrency=limit)
        added = await queue.add_bulk([("job", {"takes": 0.02}, {"ordering": group})] * jobs)
        for job in added:
            assert await job.wait_until_finished(poll=0.02) == "completed"
        runs = history.runs(name)
        assert len(runs) == jobs
        changes = [(run.at, 1) for run in runs] + [(run.ended or 0.0, -1) for run in runs]
        assert max(accumulate(change for _, change in sorted(changes))) == limit


async def test_starts_per_window_are_capped_and_every_window_is_used(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    window_s = 0.4
    group = Ordering(key="a", concurrency=10, rate_limit=RateLimit(max=4, duration=window_s))
    starts = await starts_of(queue, server, group, [1] * 12)
    assert starts[3] < SLACK_S
    for number in (4, 8):  # the first of the next window
        assert number / 4 * window_s - SLACK_S < starts[number] < number / 4 * window_s + LATENCY_S


async def test_a_token_bucket_lets_a_burst_go_and_then_what_flows_in(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    group = Ordering(key="a", concurrency=10, token_bucket=TokenBucket(capacity=3, refill_rate=10))
    starts = await starts_of(queue, server, group, [1] * 9)
    assert starts[2] < SLACK_S
    assert all(start >= (number - 2) / 10 - SLACK_S for number, start in enumerate(starts))
    assert starts[-1] < 0.6 + LATENCY_S


async def test_a_start_waits_until_its_own_cost_has_flowed_in(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    group = Ordering(key="a", concurrency=10, token_bucket=TokenBucket(capacity=5, refill_rate=10))
    starts = await starts_of(queue, server, group, [5, 4, 0.5])
    assert 0.4 - SLACK_S <= starts[1] < 0.4 + LATENCY_S
    assert starts[2] - starts[1] >= 0.05 - SLACK_S


async def test_all_gates_apply_together(queue: Queue[Any, Any], server: ValkeyServer) -> None:
    group = Ordering(
        key="a",
        concurrency=2,
        rate_limit=RateLimit(max=2, duration=0.3),
        token_bucket=TokenBucket(capacity=100, refill_rate=100),
    )
    starts = await starts_of(queue, server, group, [1] * 6)
    assert starts[2] >= 0.3 - SLACK_S
    assert starts[4] >= 0.6 - SLACK_S


async def test_what_waits_for_its_window_starts_far_sooner_than_in_five_seconds(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    window_s = 0.2
    group = Ordering(key="a", concurrency=10, rate_limit=RateLimit(max=1, duration=window_s))
    starts = await starts_of(queue, server, group, [1] * 8)
    late = sorted(later - earlier - window_s for earlier, later in pairwise(starts))
    print(f"[measured] start after the end of the window: median {late[3]:.4f} s, most {late[-1]:.4f} s")
    assert late[-1] < LATENCY_S


async def test_a_job_dearer_than_its_bucket_is_refused_at_the_add(queue: Queue[Any, Any]) -> None:
    group = Ordering(key="a", token_bucket=TokenBucket(capacity=2, refill_rate=1))
    with pytest.raises(ValidationError, match="Job cost exceeds token bucket capacity"):
        await queue.add("job", None, ordering=group, cost=3)
    assert await queue.count() == 0
