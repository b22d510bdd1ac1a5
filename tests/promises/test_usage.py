"""What calls to models used is counted once, whoever reports it and however the attempt ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from glidemq import (
    ConnectionError,
    Job,
    JobNotFoundError,
    JobUsage,
    LeaseLostError,
    Queue,
    QueueEvents,
    SharedClient,
    UsageBusyError,
    UsageEvent,
    ValidationError,
    Worker,
    get_usage_summary,
)
from glidemq.commands.note_usage_queue import NoteUsageQueueCommand
from glidemq.job import usage_steps
from tests.promises.model_calls_app import report, report_async
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

AnyQueue: TypeAlias = Queue[Any, Any]
PROCESSORS: list[Callable[[Any], Any]] = [report, report_async]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    """A queue under a prefix of its own, since all queues of a prefix share what they have used."""
    async with AnyQueue(queue_name, connection=server.url, prefix=f"p-{queue_name}") as queue:
        yield queue


async def added(queue: AnyQueue, data: Any = None, **options: Any) -> Job[Any, Any]:
    job = await queue.add("call", data, **options)
    assert job is not None
    return job


# -- on a job ------------------------------------------------------------------------------------------------


async def test_everything_that_is_reported_comes_back_as_the_jobs_usage(queue: AnyQueue) -> None:
    job = await added(queue)
    assert job.usage is None
    await job.report_usage(
        model="m-1",
        provider="p",
        tokens={"input": 100, "output": 50, "anything": 0.5},
        costs={"input": 0.001, "output": 0.002},
        cost_unit="usd",
        latency=timedelta(milliseconds=12),
        cached=False,
    )
    expected = JobUsage(
        model="m-1",
        provider="p",
        tokens={"input": 100, "output": 50, "anything": 0.5},
        total_tokens=150.5,
        costs={"input": 0.001, "output": 0.002},
        total_cost=0.003,
        cost_unit="usd",
        latency=0.012,
        cached=False,
    )
    assert job.usage == expected
    stored = await queue.get_job(job.id)
    assert stored is not None
    assert stored.usage == expected
    with pytest.raises(AttributeError):
        stored.usage.model = "other"  # type: ignore[misc, union-attr]


async def test_totals_that_are_given_are_kept(queue: AnyQueue) -> None:
    job = await added(queue)
    await job.report_usage(tokens={"input": 1}, total_tokens=99, costs={"a": 1}, total_cost=0)
    assert job.usage is not None
    assert (job.usage.total_tokens, job.usage.total_cost) == (99, 0)


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        ({"tokens": {"input": -1}}, "Token count for 'input' must be a finite non-negative number"),
        ({"tokens": {"k": float("nan")}}, "Token count for 'k' must be a finite non-negative number"),
        ({"tokens": {"k": True}}, "Token count for 'k' must be a finite non-negative number"),
        ({"total_tokens": float("inf")}, "total_tokens must be a finite non-negative number"),
        ({"costs": {"k": "1"}}, "Cost for 'k' must be a finite non-negative number"),
        ({"total_cost": -0.1}, "total_cost must be a finite non-negative number"),
        ({"latency": -1}, "latency must be a finite non-negative number"),
        ({"tokens": [1]}, "tokens must be a mapping of categories to numbers"),
        ({"tokens": {f"c{n}": 1 for n in range(101)}}, "tokens must have at most 100 categories"),
        ({"model": ""}, "model must be a text"),
        ({"model": "\ud800"}, "model must be a text"),
        ({"cached": 1}, "cached must be True or False"),
        ({}, "must say something"),
    ],
)
async def test_report_that_makes_no_sense_is_refused_before_anything_is_sent(
    report: Any, sentence: str
) -> None:
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as unreachable:
        job = Job[Any, Any].from_hash({"id": b"1"}, queue_key="glide:{q}:meta", connection=unreachable)
        with pytest.raises(ValidationError, match=sentence):
            await job.report_usage(**report)


async def test_job_that_was_removed_cannot_report(queue: AnyQueue) -> None:
    job = await added(queue)
    await job.remove()
    with pytest.raises(JobNotFoundError, match=f"job {job.id} does not exist"):
        await job.report_usage(total_tokens=1)


async def test_lock_of_a_node_client_is_waited_for_and_then_given_up(
    queue: AnyQueue, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await added(queue)
    lock = f"{queue.keys.job(job.id)}:usage-lock"
    raw.set(lock, "token", px=40)
    await job.report_usage(total_tokens=1)
    assert not raw.exists(lock)
    raw.set(lock, "token", px=60_000)
    monkeypatch.setattr(usage_steps, "LOCK_TRIES", 2)
    with pytest.raises(UsageBusyError, match="report_usage lock timeout; try again"):
        await job.report_usage(total_tokens=2)
    await job.refresh()
    assert job.usage is not None
    assert job.usage.total_tokens == 1


async def test_report_stands_when_the_list_of_queues_cannot_be_written(
    server: ValkeyServer, queue: AnyQueue
) -> None:
    client = await SharedClient.connect(server.url)

    class Unlisting:
        """A cluster whose node with the list is away."""

        async def execute(self, command: Any) -> Any:
            if isinstance(command, NoteUsageQueueCommand):
                raise ConnectionError("that node is away")
            return await client.execute(command)

    job = await added(queue)
    reporting = Job[Any, Any].from_hash(
        {"id": job.id.encode()}, queue_key=queue.keys.meta, connection=Unlisting()
    )
    await reporting.report_usage(total_tokens=7)
    assert await total_tokens(queue, job.id) == 7
    await client.close()


async def test_event_tells_the_jobs_usage(server: ValkeyServer, queue: AnyQueue) -> None:
    job = await added(queue)
    prefix = queue.keys.prefix
    async with QueueEvents(queue.name, connection=server.url, prefix=prefix, last_event_id="0") as events:
        await job.report_usage(model="m", tokens={"input": 2})
        async for event in events:
            if isinstance(event, UsageEvent):
                assert (event.name, event.job_id, event.usage) == ("usage", job.id, job.usage)
                return


# -- by processors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processor", PROCESSORS)
async def test_failed_attempts_count_and_no_attempt_counts_twice(
    server: ValkeyServer, queue: AnyQueue, processor: Callable[[Any], Any]
) -> None:
    steps = [
        {"usage": {"model": "a", "tokens": {"input": 10}, "costs": {"total": 0.1}}, "fail": "once"},
        {"usage": {"model": "b", "tokens": {"input": 5, "output": 1}, "costs": {"total": 0.2}}},
    ]
    job = await added(queue, steps, attempts=2)
    lost = await added(queue, [{"usage": {"model": "a", "tokens": {"input": 100}}, "fail": "for good"}])
    prefix = queue.keys.prefix
    async with Worker[Any, Any](queue.name, processor, connection=server.url, prefix=prefix):
        assert await job.wait_until_finished(poll=0.01) == "completed"
        assert await lost.wait_until_finished(poll=0.01) == "failed"
    assert job.usage is not None
    assert job.usage.model == "b"
    assert job.usage.tokens == {"input": 15, "output": 1}
    assert job.usage.total_cost == pytest.approx(0.3)
    summary = await queue.get_usage_summary()
    assert (summary.total_tokens, summary.job_count) == (116, 2)
    assert summary.models == {"a": 2, "b": 1}
    assert summary.total_cost == pytest.approx(0.3)


async def test_revoked_run_has_used_what_it_reported(server: ValkeyServer, queue: AnyQueue) -> None:
    async def call(job: Job[Any, Any]) -> None:
        await job.report_usage(tokens={"input": 7})
        await job.abort_signal.wait()
        await job.report_usage(tokens={"input": 9})

    job = await added(queue)
    prefix = queue.keys.prefix
    async with Worker[Any, Any](
        queue.name, call, connection=server.url, prefix=prefix, lock_duration=1, stalled_interval=0.2
    ):
        await eventually(lambda: total_tokens(queue, job.id), "the first report")
        assert await queue.revoke(job.id) == "flagged"
        assert await job.wait_until_finished(poll=0.01) == "failed"
    assert await total_tokens(queue, job.id) == 9
    assert job.failed_reason == "revoked"


async def test_what_was_used_before_a_suspension_stays_in_the_sum(
    server: ValkeyServer, queue: AnyQueue
) -> None:
    async def call(job: Job[Any, Any]) -> None:
        await job.report_usage(tokens={"draft": 5} if not job.signals else {"final": 8})
        if not job.signals:
            await job.suspend(reason="a person must look at it")

    job = await added(queue)
    async with Worker[Any, Any](queue.name, call, connection=server.url, prefix=queue.keys.prefix):
        await eventually(lambda: queue.get_suspend_info(job.id), "the suspension")
        assert await total_tokens(queue, job.id) == 5
        assert await queue.signal(job.id, "approve")
        assert await job.wait_until_finished(poll=0.01) == "completed"
    assert job.usage is not None
    assert job.usage.tokens == {"draft": 5, "final": 8}
    assert (await queue.get_usage_summary()).job_count == 1


async def test_run_that_lost_its_job_cannot_report_any_more(server: ValkeyServer, queue: AnyQueue) -> None:
    runs: list[Job[Any, Any]] = []

    async def call(job: Job[Any, Any]) -> None:
        runs.append(job)
        await job.report_usage(tokens={"input": 1})
        if len(runs) == 1:
            raise ValueError("once")

    job = await added(queue, attempts=2)
    async with Worker[Any, Any](queue.name, call, connection=server.url, prefix=queue.keys.prefix):
        assert await job.wait_until_finished(poll=0.01) == "completed"
        with pytest.raises(LeaseLostError, match="started by somebody else"):
            await runs[0].report_usage(tokens={"input": 1000})
        await runs[1].report_usage(tokens={"input": 2})
    assert await total_tokens(queue, job.id) == 3


async def total_tokens(queue: AnyQueue, job_id: str) -> float | None:
    job = await queue.get_job(job_id)
    assert job is not None
    return job.usage.total_tokens if job.usage is not None else None


@pytest.fixture
def runtime(own_server: ValkeyServer, tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(
        tmp_path / "runtime",
        "tests.promises.model_calls_app:app",
        url=own_server.url,
        effects=tmp_path / "effects",
        arguments=["--procs", "1"],
    )
    yield made.start()
    made.clean_up()


async def test_actor_processes_report_and_a_crashed_one_has_used_what_it_reported(
    runtime: Runtime, own_server: ValkeyServer
) -> None:
    await runtime.ready()
    async with (
        AnyQueue("sync-usage", connection=own_server.url) as sync,
        AnyQueue("async-usage", connection=own_server.url) as coroutines,
    ):
        steps = [
            {"usage": {"model": "a", "tokens": {"in": 1}}, "fail": "x"},
            {"usage": {"tokens": {"in": 2}}},
        ]
        jobs = [await added(queue, steps, attempts=2) for queue in (sync, coroutines)]
        dying = await added(sync, [{"usage": {"tokens": {"in": 100}}, "die": True}])
        for job in (*jobs, dying):
            assert await job.wait_until_finished(poll=0.02) == "completed"
        assert [job.usage and job.usage.total_tokens for job in (*jobs, dying)] == [3, 3, 200]
        summary = await get_usage_summary(connection=own_server.url)
        assert summary.queues == ["async-usage", "sync-usage"]
        assert summary.total_tokens == 206
        assert summary.per_queue["sync-usage"].total_tokens == 203
