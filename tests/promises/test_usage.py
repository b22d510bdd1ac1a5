"""What calls to models used is counted once, whoever reports it and however the attempt ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
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


async def test_report_stands_when_the_list_of_queues_cannot_be_written(queue: AnyQueue) -> None:
    class Unlisting:
        """A cluster whose node with the list is away."""

        async def execute(self, command: Any) -> Any:
            if isinstance(command, NoteUsageQueueCommand):
                raise ConnectionError("that node is away")
            return await queue._execute(command)

    job = await added(queue)
    reporting = Job[Any, Any].from_hash(
        {"id": job.id.encode()}, queue_key=queue.keys.meta, connection=Unlisting()
    )
    await reporting.report_usage(total_tokens=7)
    assert await total_tokens(queue, job.id) == 7


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


# -- of a flow -----------------------------------------------------------------------------------------------


def adopt(raw: Any, parent_queue: AnyQueue, parent: str, child_queue: AnyQueue, child: str) -> None:
    raw.sadd(parent_queue.keys.deps(parent), f"{child_queue.keys.base}:{child}")


async def test_flow_is_summed_up_over_all_its_levels_and_queues(
    server: ValkeyServer, queue: AnyQueue, raw: Any
) -> None:
    async with AnyQueue(f"{queue.name}-b", connection=server.url, prefix=queue.keys.prefix) as other:
        root, child, leaf = await added(queue), await added(other), await added(queue)
        silent, stranger = await added(other), await added(queue)
        for parent_queue, parent, child_queue, of in (
            (queue, root, other, child),
            (other, child, queue, leaf),
            (queue, root, queue, leaf),  # in a graph a job may be below several others: it counts once
            (queue, root, other, silent),
            (queue, leaf, queue, root),  # nonsense, which must not make the walk endless
        ):
            adopt(raw, parent_queue, parent.id, child_queue, of.id)
        await root.report_usage(model="big", tokens={"in": 1}, costs={"total": 0.1}, cost_unit="usd")
        await child.report_usage(model="big", tokens={"in": 10, "out": 5}, costs={"total": 0.2})
        await leaf.report_usage(model="small", tokens={"in": 100})
        await stranger.report_usage(model="big", tokens={"in": 1000})
        usage = await queue.get_flow_usage(root.id)
        assert usage.tokens == {"in": 111, "out": 5}
        assert (usage.total_tokens, usage.total_cost, usage.cost_unit) == (116, 0.3, "usd")
        assert (usage.job_count, usage.models) == (3, {"big": 2, "small": 1})
        assert (await queue.get_flow_usage("none")).job_count == 0


async def test_flow_of_thousands_of_jobs_is_read_in_bounded_calls(queue: AnyQueue, raw: Any) -> None:
    root = await added(queue)
    children = await queue.add_bulk([("call", None)] * 3000)
    raw.sadd(queue.keys.deps(root.id), *(f"{queue.keys.base}:{child.id}" for child in children))
    for child in children[::100]:
        await child.report_usage(total_tokens=1)
    usage = await queue.get_flow_usage(root.id)
    assert (usage.job_count, usage.total_tokens) == (30, 30)


# -- over time -----------------------------------------------------------------------------------------------


async def test_summary_counts_the_minutes_of_its_span(queue: AnyQueue, raw: Any) -> None:
    end = datetime.now(UTC).replace(second=30, microsecond=0) - timedelta(hours=5)
    minute = end.replace(second=0)
    for minutes_ago, tokens in ((0, 1), (1, 10), (60, 100), (61, 1000)):
        key = queue.keys.usage(int((minute - timedelta(minutes=minutes_ago)).timestamp() * 1000))
        raw.hset(key, mapping={"jobCount": 1, "totalTokens": tokens, "models:gone": 0})
    assert (await queue.get_usage_summary(end_time=end)).total_tokens == 111
    assert (await queue.get_usage_summary(end_time=end, window=60)).total_tokens == 11
    everything = await queue.get_usage_summary(start_time=end - timedelta(hours=2), end_time=end.timestamp())
    assert (everything.total_tokens, everything.job_count, everything.models) == (1111, 4, {})
    assert (everything.start_time, everything.end_time) == (end - timedelta(hours=2), end)
    assert everything.bucket_size == 60
    assert (await queue.get_usage_summary()).total_tokens == 0


async def test_summary_of_a_month_is_read_in_pages(queue: AnyQueue, raw: Any) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    for days in (0, 10, 29, 31):
        raw.hset(queue.keys.usage(int((now - timedelta(days=days)).timestamp() * 1000)), "totalTokens", 1)
    assert (await queue.get_usage_summary(window=timedelta(days=60))).total_tokens == 3


async def test_several_queues_are_summed_up_together_and_apart(server: ValkeyServer, queue: AnyQueue) -> None:
    prefix = queue.keys.prefix
    async with AnyQueue("second", connection=server.url, prefix=prefix) as second:
        await (await added(queue)).report_usage(model="m", tokens={"in": 1}, cost_unit="usd")
        await (await added(second)).report_usage(model="m", tokens={"in": 2})
        both = await queue.get_usage_summary(queues=["second", queue.name, "second"])
        assert both.queues == ["second", queue.name]
        assert (both.total_tokens, both.job_count, both.models) == (3, 2, {"m": 2})
        assert {name: totals.total_tokens for name, totals in both.per_queue.items()} == {
            "second": 2,
            queue.name: 1,
        }
    everything = await get_usage_summary(connection=server.url, prefix=prefix)
    assert (sorted(everything.queues), everything.total_tokens) == (sorted(both.queues), 3)
    async with await SharedClient.connect(server.url) as client:
        one = await get_usage_summary(["second"], client=client, prefix=prefix)
        assert one.total_tokens == 2
        assert (await get_usage_summary(client=client, prefix=f"{prefix}-unused")).queues == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"window": 0}, "window must be a finite positive number"),
        ({"window": float("nan")}, "window must be a finite positive number"),
        ({"start_time": -1}, "start_time must be a finite non-negative number"),
        ({"end_time": float("inf")}, "end_time must be a finite non-negative number"),
        ({"end_time": 1_800_000_000_000}, "end_time must be a finite non-negative number"),
        ({"start_time": datetime(2026, 1, 1)}, "start_time must be an aware datetime"),
        ({"start_time": 20, "end_time": 10}, "start_time must be less than or equal to end_time"),
        (
            {"queues": [f"q{n}" for n in range(3)], "window": timedelta(days=30)},
            r"usage summary request exceeds maximum bucket reads \(1296\d\d > 100000\); reduce queues or window",
        ),
        ({"queues": ["{"]}, "Queue name must not contain"),
    ],
)
async def test_span_that_makes_no_sense_is_refused_before_anything_is_sent(
    arguments: Any, sentence: str
) -> None:
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as unreachable:
        with pytest.raises(ValidationError, match=sentence):
            await unreachable.get_usage_summary(**arguments)


async def test_summary_of_several_queues_needs_to_know_the_server() -> None:
    with pytest.raises(ValidationError, match="get_usage_summary requires either `client` or `connection`"):
        await get_usage_summary(["q"])
