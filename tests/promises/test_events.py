"""Every documented event comes, with its documented fields: on the queue's log, and from the worker in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypedDict

import pytest

from glidemq import (
    CountEvent,
    FailedEvent,
    FlowProducer,
    GroupRateLimitedEvent,
    Job,
    JobFailedError,
    JobTimeoutError,
    Ordering,
    PayloadValidationError,
    Queue,
    QueueEvents,
    ResumedEvent,
    RetryingEvent,
    SuspendError,
    Worker,
)
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

AnyQueue = Queue[Any, Any]
AnyWorker = Worker[Any, Any]


class Log:
    """All events of a queue, in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def of(self, name: str) -> list[Any]:
        return [event for event in self.events if event.name == name]

    async def first(self, name: str) -> Any:
        return (await eventually(lambda: self.of(name), f"the event {name}"))[0]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        yield queue


@pytest.fixture
async def log(server: ValkeyServer, queue_name: str) -> AsyncIterator[Log]:
    seen = Log()

    async def follow(events: QueueEvents) -> None:
        async for event in events:
            seen.events.append(event)

    async with QueueEvents(queue_name, connection=server.url) as events:
        following = asyncio.create_task(follow(events))
        yield seen
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


# -- the queue's log


async def test_a_job_that_completes(queue: AnyQueue, log: Log, server: ValkeyServer) -> None:
    async def report(job: Job[Any, Any]) -> dict[str, int]:
        await job.update_progress({"done": 50})
        await job.report_usage(model="m", tokens={"input": 3})
        return {"n": 1}

    async with AnyWorker(queue.name, report, connection=server.url):
        await queue.add("n", None)
        completed = await log.first("completed")
    assert [event.name for event in log.events] == ["added", "progress", "usage", "completed"]
    assert {event.job_id for event in log.events} == {"1"}
    assert (await log.first("added")).job_name == "n"
    assert (await log.first("progress")).data == {"done": 50}
    assert (await log.first("usage")).usage.total_tokens == 3
    assert completed.return_value == {"n": 1}


async def test_a_job_that_fails_and_is_retried_by_hand(
    queue: AnyQueue, log: Log, server: ValkeyServer
) -> None:
    async def fail(job: Job[Any, Any]) -> None:
        raise ValueError("no")

    async with AnyWorker(queue.name, fail, connection=server.url):
        await queue.add("n", None, attempts=2, backoff={"type": "fixed", "delay": 0.05})
        failed = await log.first("failed")
    retrying = await log.first("retrying")
    assert isinstance(retrying, RetryingEvent)
    assert (retrying.failed_reason, retrying.attempts_made, retrying.delay) == ("no", 1, 0.05)
    assert isinstance(failed, FailedEvent) and failed.failed_reason == "no"
    assert [event.name for event in log.events] == ["added", "retrying", "promoted", "failed"]
    assert await queue.retry_jobs() == 1
    retried = await log.first("retried")
    assert isinstance(retried, CountEvent) and (retried.count, retried.job_id) == (1, "")


async def test_what_is_done_to_jobs_from_outside(queue: AnyQueue, log: Log) -> None:
    for number in range(4):
        await queue.add(f"n{number}", None, delay=60)
    first, second, third, fourth = await queue.get_jobs("delayed")
    await first.change_priority(7)
    await second.change_delay(90)
    await third.promote()
    await fourth.remove()
    assert await queue.revoke(second.id) == "revoked"
    await queue.pause()
    await queue.resume()
    assert (await log.first("priority-changed")).priority == 7
    assert (await log.first("delay-changed")).delay == 90
    assert (await log.first("promoted")).job_id == third.id
    assert (await log.first("removed")).job_id == fourth.id
    assert (await log.first("revoked")).job_id == second.id
    assert (await log.first("paused")).job_id == "0"
    resumed = await log.first("resumed")
    assert isinstance(resumed, ResumedEvent) and (resumed.job_id, resumed.signal) == ("0", None)
    assert await queue.clean(0, 10, "failed") == [second.id]
    assert await queue.drain(delayed=True) == 2
    assert [(await log.first(name)).count for name in ("cleaned", "drained")] == [1, 2]


def _has_expired(server: ValkeyServer, queue: AnyQueue) -> bool:
    client: Any = server.client()
    seconds, microseconds = client.time()
    expire_at = int(client.hget(queue.keys.job("1"), "expireAt"))
    client.close()
    return bool(seconds * 1000 + microseconds // 1000 > expire_at)


async def test_a_job_that_nobody_starts_in_time(queue: AnyQueue, log: Log, server: ValkeyServer) -> None:
    async def nothing(job: Job[Any, Any]) -> None: ...

    await queue.pause()
    await queue.add("n", None, ttl=0.01)
    async with AnyWorker(queue.name, nothing, connection=server.url):
        await eventually(lambda: log.of("paused"), "paused")
        await eventually(lambda: _has_expired(server, queue), "its time has passed")
        await queue.resume()
        expired = await log.first("expired")
    assert expired.job_id == "1" and not log.of("failed")


async def test_a_job_that_is_suspended_and_signalled(queue: AnyQueue, log: Log, server: ValkeyServer) -> None:
    async def ask(job: Job[Any, Any]) -> str:
        if not job.signals:
            raise SuspendError("waits for approval")
        return "approved"

    async with AnyWorker(queue.name, ask, connection=server.url):
        await queue.add("n", None)
        await log.first("suspended")
        await eventually(lambda: queue.signal("1", "approve", None), "the signal is taken")
        resumed = await log.first("resumed")
        await log.first("completed")
    assert (resumed.job_id, resumed.signal) == ("1", "approve")


async def test_a_parent_that_waits_and_a_group_that_is_paused(
    queue: AnyQueue, log: Log, server: ValkeyServer
) -> None:
    async def work(job: Job[Any, Any]) -> None:
        if job.name == "hot":
            await queue.rate_limit_group("g", 30)

    async with (
        FlowProducer(connection=server.url) as flows,
        AnyWorker(queue.name, work, connection=server.url),
    ):
        await flows.add(
            {
                "name": "parent",
                "queue_name": queue.name,
                "children": [{"name": "child", "queue_name": queue.name}],
            }
        )
        active = await log.first("active")
        await queue.add("hot", None, ordering=Ordering("g"))
        limited = await log.first("group-rate-limited")
    assert isinstance(limited, GroupRateLimitedEvent)
    assert (limited.job_id, limited.group_key, limited.duration) == ("", "g", 30)
    assert 29 < (limited.resume_at - limited.timestamp).total_seconds() < 31
    assert {event.job_id for event in log.events if event.name == "completed"} >= {active.job_id}


# -- the worker's own


class Told:
    """All events of a worker, in order: (name, arguments)."""

    def __init__(self, worker: AnyWorker) -> None:
        self.events: list[tuple[str, tuple[Any, ...]]] = []
        for name in ("active", "completed", "failed", "error", "stalled", "drained", "closing", "closed"):
            worker.on(name, self._noting(name))  # type: ignore[call-overload]

    def _noting(self, name: str) -> Any:
        def note(*arguments: Any) -> None:
            self.events.append((name, arguments))

        return note

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def but_drained(self) -> list[str]:
        """The queue is found empty at any time after a job's end."""
        return [name for name in self.names if name != "drained"]

    async def first(self, name: str) -> tuple[Any, ...]:
        await eventually(lambda: name in self.names, f"the worker event {name}")
        return next(arguments for told, arguments in self.events if told == name)


class Number(TypedDict):
    n: int


async def misbehave(job: Job[Number, int]) -> int:
    if job.name == "slow":
        await asyncio.sleep(60)
    if job.name == "fails":
        raise KeyError("missing")
    if job.name == "revoked":
        await job.abort_signal.wait()
    return job.data["n"]


def misbehave_on_a_thread(job: Job[Number, int]) -> int:
    while job.name in ("slow", "revoked") and not job.abort_signal.aborted:
        pass
    if job.name == "fails":
        raise KeyError("missing")
    return job.data["n"]


@pytest.mark.parametrize("processor", [misbehave, misbehave_on_a_thread])
async def test_a_worker_tells_of_each_job_s_start_and_end(
    queue: AnyQueue, server: ValkeyServer, processor: Any
) -> None:
    worker = AnyWorker(queue.name, processor, connection=server.url, lock_duration=1)
    told = Told(worker)
    async with worker:
        for name, data, kind, text in (
            ("slow", {"n": 1}, JobTimeoutError, "Job timeout exceeded"),
            ("fails", {"n": 1}, KeyError, "'missing'"),
            ("misfit", {"n": "one"}, (JobFailedError, PayloadValidationError), "n"),
            ("revoked", {"n": 1}, JobFailedError, "revoked"),
        ):
            told.events.clear()
            added = await queue.add(name, data, timeout=0.1 if name == "slow" else 30)
            assert added is not None
            if name == "revoked":
                await eventually(added.is_active, "it runs")
                await queue.revoke(added.id)
            job, error = await told.first("failed")
            assert (job.id, job.name) == (added.id, name)
            assert isinstance(error, kind) and text in str(error)
            assert told.but_drained() == (["failed"] if name == "misfit" else ["active", "failed"])
        told.events.clear()
        await queue.add("fine", {"n": 5})
        job, result = await told.first("completed")
        assert (job.name, result) == ("fine", 5)
        assert await told.first("drained") == ()
    assert told.but_drained() == ["active", "completed", "closing", "closed"]


async def test_a_worker_tells_of_a_job_that_it_takes_from_a_dead_one(
    queue: AnyQueue, server: ValkeyServer, raw: Any, log: Log
) -> None:
    async def answer(job: Job[Any, Any]) -> str:
        return "done"

    worker = AnyWorker(queue.name, answer, connection=server.url, lock_duration=1, stalled_interval=0.5)
    told = Told(worker)
    async with worker:
        await worker.pause()
        job = await queue.add("n", None)
        assert job is not None
        raw.xreadgroup("workers", "dead", {queue.keys.stream: ">"})
        raw.hset(queue.keys.job(job.id), mapping={"state": "active", "processedOn": 1, "lastActive": 1})
        await worker.resume()
        assert await told.first("stalled") == (job.id,)
        assert (await log.first("stalled")).job_id == job.id
        assert await job.wait_until_finished(poll=0.01) == "completed"
    assert job.stalled_count == 1
