"""What the jobs of a flow, a queue, or several queues have used, over time: every job once, in bounded calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest

from glidemq import Job, Queue, SharedClient, ValidationError, get_usage_summary
from tests.testkit.server import ValkeyServer

AnyQueue: TypeAlias = Queue[Any, Any]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    """A queue under a prefix of its own, since all queues of a prefix share what they have used."""
    async with AnyQueue(queue_name, connection=server.url, prefix=f"p-{queue_name}") as queue:
        yield queue


async def added(queue: AnyQueue, data: Any = None, **options: Any) -> Job[Any, Any]:
    job = await queue.add("call", data, **options)
    assert job is not None
    return job


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


@pytest.mark.parametrize("queues", ["emails", 5, ["emails", 5]])
async def test_what_is_no_sequence_of_queue_names_is_refused(queues: Any) -> None:
    with pytest.raises(ValidationError, match=r"queues must be a sequence of names|Queue name must be"):
        await get_usage_summary(queues, connection="valkey://127.0.0.1:1")
    async with Queue[Any, Any]("q", connection="valkey://127.0.0.1:1") as unreachable:
        with pytest.raises(ValidationError, match=r"queues must be a sequence of names|Queue name must be"):
            await unreachable.get_usage_summary(queues=queues)
