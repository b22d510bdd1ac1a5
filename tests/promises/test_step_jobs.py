"""A running job can stop and go on later, at another step, in every kind of worker; that costs no attempt."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from glidemq import DelayedError, Job, Queue, QueueEvents, SyncJob, ValidationError, Worker
from glidemq.errors import JobStateError
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer

APP = "tests.promises.control_app:app"
WAIT_S = 0.2


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    async with Queue[Any, Any](queue_name, connection=server.url) as made:
        yield made


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_job_of_three_steps_waits_between_them_in_actor_processes(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str
) -> None:
    async with Queue[Any, Any](f"{kind}-steps", connection=own_server.url) as queue:
        job = await queue.add("order", {"order": "book", "wait": WAIT_S}, attempts=1)
        assert job is not None
        await launch(APP, "--procs", "2").ready()
        assert await job.wait_until_finished(poll=0.01) == "completed"
        assert job.return_value == ["second", "book"]
        assert job.data == {"order": "book", "wait": WAIT_S, "step": "second"}
        assert (job.attempts_made, job.failed_reason) == (0, None)
        assert (await queue.get_job_logs(job.id)).logs == ["first", "second", "second"]
        starts = [run.at for run in history.runs_of(job.id)]
        waits = [later - earlier for earlier, later in pairwise(starts)]
        assert all(WAIT_S - 0.01 <= wait < WAIT_S + 1 for wait in waits), waits


@pytest.mark.parametrize(
    "when",
    [
        lambda: time.time() + WAIT_S,
        lambda: datetime.now(UTC) + timedelta(seconds=WAIT_S),
    ],
    ids=["epoch seconds", "datetime"],
)
async def test_the_wait_is_told_to_listeners_and_shows_on_the_job(
    queue: Queue[Any, Any], server: ValkeyServer, when: Callable[[], Any]
) -> None:
    async def process(job: Job[Any, Any]) -> str:
        if "step" not in job.data:
            await job.move_to_delayed(when(), "again")
        return "done"

    names: list[str] = []
    async with QueueEvents(queue.name, connection=server.url) as events:
        job = await queue.add("order", {}, attempts=1)
        assert job is not None
        async with Worker[Any, Any](queue.name, process, connection=server.url) as worker:
            failed: list[Any] = []
            worker.on("failed", lambda job, error: failed.append(error))
            async for event in events:
                names.append(event.name)
                if event.name == "delay-changed":
                    assert 0 < event.delay <= WAIT_S + 0.002  # type: ignore[attr-defined]
                if event.name == "completed":
                    break
            assert failed == []
    assert names == ["added", "delay-changed", "promoted", "completed"]


async def test_a_time_in_the_past_means_at_once(queue: Queue[Any, Any], server: ValkeyServer) -> None:
    def process(job: SyncJob[Any, Any]) -> str:
        if "step" not in job.data:
            job.move_to_delayed(0, next_step="again")
        return "done"

    job = await queue.add("order", {})
    assert job is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        assert await job.wait_until_finished(poll=0.01, timeout=5) == "completed"


async def test_an_ordered_job_that_waits_keeps_its_turn(queue: Queue[Any, Any], server: ValkeyServer) -> None:
    order: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        order.append(job.name)
        if order == ["first"]:
            raise DelayedError(time.time() + WAIT_S)

    await queue.add("first", {}, ordering={"key": "a"})
    last = await queue.add("second", {}, ordering={"key": "a"})
    assert last is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url, concurrency=4):
        await last.wait_until_finished(poll=0.01)
    assert order == ["first", "first", "second"]


@dataclass
class Order:
    book: str
    step: str | None = None


async def test_a_step_is_stored_in_data_that_a_dataclass_describes(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    async def process(job: Job[Order, str]) -> str:
        if job.data.step is None:
            await job.move_to_delayed(0, next_step="deliver")
        return f"{job.data.step} {job.data.book}"

    job = await queue.add("order", {"book": "b"})
    assert job is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        await job.wait_until_finished(poll=0.01)
    assert job.return_value == "deliver b"


@pytest.mark.parametrize("data", [None, [1], "text", 5])
async def test_a_step_needs_data_that_are_an_object(
    queue: Queue[Any, Any], server: ValkeyServer, data: Any
) -> None:
    async def process(job: Job[Any, Any]) -> None:
        await job.move_to_delayed(time.time() + 60, next_step="second")

    job = await queue.add("order", data)
    assert job is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        assert await job.wait_until_finished(poll=0.01) == "failed"
    assert job.failed_reason == "move_to_delayed(next_step) requires plain-object job data"
    assert job.data == data


@pytest.mark.parametrize(
    ("when", "text"),
    [
        (-1, "Timestamp must be a finite Unix value in seconds >= 0"),
        (float("nan"), "Timestamp must be a finite Unix value in seconds >= 0"),
        (datetime(2030, 1, 1), "or an aware datetime"),
        ("tomorrow", "or an aware datetime"),
        (1_900_000_000_000, "looks like milliseconds"),
        (5_000_000_000, "Timestamp must lie between 1970 and 2109"),
    ],
)
async def test_what_is_no_point_in_time_is_refused(
    queue: Queue[Any, Any], server: ValkeyServer, when: Any, text: str
) -> None:
    async def process(job: Job[Any, Any]) -> str:
        with pytest.raises(ValidationError, match=text):
            await job.move_to_delayed(when)
        return "done"

    job = await queue.add("order", {})
    assert job is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        assert await job.wait_until_finished(poll=0.01) == "completed"


async def test_only_a_job_that_is_being_processed_can_be_moved(queue: Queue[Any, Any]) -> None:
    job = await queue.add("order", {})
    assert job is not None
    with pytest.raises(JobStateError) as refusal:
        await job.move_to_delayed(time.time() + 1)
    assert str(refusal.value) == "move_to_delayed() can only be used while the job is active in a Worker"


@pytest.mark.parametrize("until", [-1, float("inf"), "soon", None])
def test_the_error_refuses_what_is_no_point_in_time(until: Any) -> None:
    with pytest.raises(ValidationError, match="DelayedError requires a finite Unix timestamp"):
        DelayedError(until)
