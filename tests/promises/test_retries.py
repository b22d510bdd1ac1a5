"""How often a job is tried, and when: by its attempts and back-off, until an error says that there is no point."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from glidemq import (
    Backoff,
    Job,
    Queue,
    QueueEvents,
    RetryingEvent,
    UnrecoverableError,
    ValidationError,
    Worker,
)
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.basics_app:app"

AnyQueue = Queue[Any, Any]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(queue_name, connection=server.url) as made:
        yield made


async def fail(job: Job[Any, Any]) -> None:
    raise ValueError(f"failure {job.attempts_made + 1}")


async def delays_until_it_fails(queue: AnyQueue, server: ValkeyServer, **options: Any) -> list[float]:
    """Add a job that always fails; the waits between its attempts."""
    delays: list[float] = []
    async with (
        QueueEvents(queue.name, connection=server.url) as events,
        Worker[Any, Any](queue.name, fail, connection=server.url, promotion_interval=0.02),
    ):
        job = await queue.add("n", None, **options)
        assert job is not None
        async for event in events:
            if isinstance(event, RetryingEvent):
                delays.append(event.delay)
            elif event.name == "failed":
                break
        await job.refresh()
        assert (job.attempts_made, job.failed_reason) == (len(delays) + 1, f"failure {len(delays) + 1}")
    return delays


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (Backoff.fixed(0.02), [0.02, 0.02, 0.02, 0.02]),
        (Backoff.exponential(0.01), [0.01, 0.02, 0.04, 0.08]),
        ({"type": "exponential", "delay": 0.01}, [0.01, 0.02, 0.04, 0.08]),
        (None, [0, 0, 0, 0]),
    ],
)
async def test_five_attempts_come_at_the_documented_times(
    queue: AnyQueue, server: ValkeyServer, backoff: Any, expected: list[float]
) -> None:
    assert await delays_until_it_fails(queue, server, attempts=5, backoff=backoff) == expected


async def test_jitter_lengthens_each_wait_by_a_random_part(queue: AnyQueue, server: ValkeyServer) -> None:
    backoff = Backoff.exponential(0.02, jitter=0.5)
    delays = await delays_until_it_fails(queue, server, attempts=5, backoff=backoff)
    bare = [0.02, 0.04, 0.08, 0.16]
    assert all(low <= delay <= 1.5 * low for low, delay in zip(bare, delays, strict=True))
    assert delays != bare


@pytest.mark.parametrize("attempts", [None, 0, 1])
async def test_without_attempts_the_first_failure_is_the_last(
    queue: AnyQueue, server: ValkeyServer, attempts: int | None
) -> None:
    assert await delays_until_it_fails(queue, server, attempts=attempts) == []


async def test_errors_that_derive_from_the_unrecoverable_one_end_all_attempts_too(
    queue: AnyQueue, server: ValkeyServer
) -> None:
    class NoSuchCustomerError(UnrecoverableError):
        pass

    async def process(job: Job[Any, Any]) -> None:
        raise NoSuchCustomerError("nobody of that name")

    async with Worker[Any, Any](queue.name, process, connection=server.url):
        job = await queue.add("n", None, attempts=10)
        assert job is not None
        assert await job.wait_until_finished(poll=0.01) == "failed"
        assert (job.attempts_made, job.failed_reason) == (1, "nobody of that name")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_actor_processes_try_as_often_as_it_makes_sense(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str
) -> None:
    await launch(APP, "--procs", "2").ready()
    async with AnyQueue(f"{kind}-answers", connection=own_server.url) as queue:
        for data, runs, state, attempts_made, reason in (
            ({"failures": 2}, 3, "completed", 2, "failure 2"),
            ({"failures": 9}, 4, "failed", 4, "failure 4"),
            ("hopeless", 1, "failed", 1, "no answer, ever"),
            ("discarded", 1, "failed", 1, "no answer, and no other attempt"),
        ):
            job = await queue.add("n", data, attempts=4, backoff=Backoff.fixed(0.02))
            assert job is not None
            assert await job.wait_until_finished(poll=0.02) == state
            assert [run.attempt for run in history.runs_of(job.id)] == list(range(runs))
            assert (job.attempts_made, job.failed_reason) == (attempts_made, reason)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": -1}, "attempts must be a non-negative integer"),
        ({"attempts": 1.5}, "attempts must be a non-negative integer"),
        ({"backoff": {"type": "", "delay": 1}}, 'backoff.type must be "fixed", "exponential" or the name'),
        ({"backoff": {"type": "fixed", "delay": -1}}, "backoff.delay must be a non-negative finite number"),
        ({"backoff": {"type": "fixed", "delya": 1}}, "did you mean 'delay'"),
        ({"backoff": "fixed"}, "backoff must be a Backoff or a mapping with its fields"),
    ],
)
async def test_what_says_no_times_is_refused(options: dict[str, Any], message: str) -> None:
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as unreachable:
        with pytest.raises(ValidationError, match=message):
            await unreachable.add("n", 1, **options)


async def test_a_failed_job_tells_when_its_latest_attempt_started_and_how_long_it_took(
    queue: AnyQueue, server: ValkeyServer
) -> None:
    starts: list[datetime | None] = []

    async def fail_later(job: Job[Any, Any]) -> None:
        starts.append(job.processed_on)
        await asyncio.sleep(0.02)
        raise ValueError("no")

    async with Worker[Any, Any](queue.name, fail_later, connection=server.url, promotion_interval=0.02):
        job = await queue.add("n", None, attempts=2, backoff=Backoff.fixed(60))
        assert job is not None

        async def put_back() -> bool:
            await job.refresh()
            return await job.get_state() == "delayed"

        await eventually(put_back, "the first attempt has failed")
        await job.refresh()
        assert job.processed_on == starts[0] and job.finished_on is None
        await job.promote()
        assert await job.wait_until_finished() == "failed"
    assert job.processed_on == starts[1] and starts[1] != starts[0]
    assert job.finished_on is not None and starts[1] is not None
    assert job.finished_on - starts[1] >= timedelta(seconds=0.015)
    brief = await queue.get_job(job.id, exclude_data=True)
    assert brief is not None and brief.processed_on == starts[1]
