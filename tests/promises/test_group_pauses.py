"""A group can be paused at run time: from its running job, by raising, and from outside; other groups go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glidemq import GroupRateLimitError, Job, Ordering, Queue, ValidationError, Worker
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.control_app:app"
PAUSE_S = 0.4


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    async with Queue[Any, Any](queue_name, connection=server.url) as made:
        yield made


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("how", ["raise", "call"])
async def test_a_group_is_paused_from_an_actor_process_and_the_job_resumes_first(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str, how: str
) -> None:
    name = f"{kind}-groups"
    async with Queue[Any, Any](name, connection=own_server.url) as queue:
        first = await queue.add(
            "fetch", {"how": how, "pause": PAUSE_S}, ordering=Ordering(key="a"), attempts=1
        )
        assert first is not None
        following = [await queue.add("fetch", {}, ordering=Ordering(key="a")) for _ in range(3)]
        other = await queue.add("fetch", {}, ordering=Ordering(key="b"))
        assert other is not None
        await launch(APP, "--procs", "2").ready()
        last = following[-1]
        assert last is not None
        assert await last.wait_until_finished(poll=0.01) == "completed"
        runs = {job_id: history.runs_of(job_id, name) for job_id in (first.id, other.id)}
        paused, resumed = runs[first.id]
        assert resumed.at - paused.at >= PAUSE_S
        assert runs[other.id][0].at < resumed.at, "the other group waits for nobody"
        later = [history.runs_of(job.id, name) for job in following if job is not None]
        assert [len(found) for found in later] == [1, 1, 1]
        starts = [resumed.at, *(found[0].at for found in later)]
        assert starts == sorted(starts)
        await first.refresh()
        assert (first.return_value, first.attempts_made, first.failed_reason) == ("done", 0, None)


async def test_requeued_at_the_back_a_job_lets_the_others_of_its_group_go_first(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    order: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        order.append(job.name)
        if order == ["first"]:
            raise GroupRateLimitError(0.05, requeue_position="back")

    jobs = [await queue.add(name, None, ordering=Ordering(key="a")) for name in ("first", "second", "third")]
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        assert jobs[0] is not None
        assert await jobs[0].wait_until_finished(poll=0.01) == "completed"
    assert order == ["first", "second", "third", "first"]


async def test_a_group_is_paused_from_outside_until_the_time_that_is_returned(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    started: dict[str, float] = {}

    async def process(job: Job[Any, Any]) -> None:
        started[job.name] = time.monotonic()

    began = time.monotonic()
    resumes_on = await queue.rate_limit_group("a", timedelta(seconds=PAUSE_S))
    assert abs((resumes_on - datetime.now(UTC)).total_seconds() - PAUSE_S) < 0.2
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        held = await queue.add("held", None, ordering=Ordering(key="a"))
        free = await queue.add("free", None, ordering=Ordering(key="b"))
        assert held is not None and free is not None
        await free.wait_until_finished(poll=0.01)
        assert "held" not in started
        assert await held.get_state() == "group-waiting"
        await held.wait_until_finished(poll=0.01)
    assert started["held"] - began >= PAUSE_S
    assert started["held"] - began < PAUSE_S + 1.0, "promotion takes far less than the documented 5 s"


async def test_a_longer_pause_stays_unless_it_is_replaced(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    async def process(job: Job[Any, Any]) -> None:
        return None

    longest = await queue.rate_limit_group("a", 3600)
    assert await queue.rate_limit_group("a", 1) == longest
    job = await queue.add("held", None, ordering=Ordering(key="a"))
    assert job is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        await eventually(lambda: _is(job, "group-waiting"), "the job is parked")
        assert await queue.rate_limit_group("a", 0.05, extend="replace") < longest
        assert await job.wait_until_finished(poll=0.01, timeout=10) == "completed"


async def test_running_jobs_of_a_group_that_is_paused_from_outside_go_on(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    running, go_on = asyncio.Event(), asyncio.Event()

    async def process(job: Job[Any, Any]) -> str:
        running.set()
        await go_on.wait()
        return "undisturbed"

    job = await queue.add("long", None, ordering=Ordering(key="a"))
    assert job is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        await running.wait()
        await queue.rate_limit_group("a", 3600)
        go_on.set()
        assert await job.wait_until_finished(poll=0.01) == "completed"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("", 1), "group_key must be a non-empty string"),
        (("a", 0), "duration must be a positive finite number"),
        (("a", float("nan")), "duration must be a positive finite number"),
        (("a", 1, "later"), "extend must be 'max' or 'replace', not 'later'"),
    ],
)
async def test_bad_arguments_are_refused_before_anything_is_sent(
    arguments: tuple[Any, ...], text: str
) -> None:
    async with Queue[Any, Any]("nowhere", connection="valkey://127.0.0.1:9") as queue:
        with pytest.raises(ValidationError, match=text):
            await queue.rate_limit_group(
                *arguments[:2], **dict(zip(("extend",), arguments[2:], strict=False))
            )


async def _is(job: Job[Any, Any], state: str) -> bool:
    return await job.get_state() == state
