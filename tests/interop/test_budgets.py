"""Budgets: ours stand on the server as Node's do, and Node's, under our workers, end as on Node."""

from __future__ import annotations

from typing import Any

import valkey

from glidemq import Budget, FlowProducer, Job, Queue, Worker
from tests.interop.allowances import AFTER_ADD, AFTER_COMPLETION
from tests.interop.differ import assert_same, read_keys
from tests.interop.loader import load_dump
from tests.interop.snapshot import load_case, rename_queues
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


def found_in(raw: Any, queue: str) -> Any:
    """The queue's keys without those of ours, some of which are no text."""
    for own in raw.scan_iter(match=f"glide:{{{queue}}}:x-py:*"):
        raw.delete(own)
    return read_keys(raw, [queue])


async def test_a_flow_with_a_budget_is_written_as_node_writes_it(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    async with FlowProducer(connection=server.url) as flows:
        await flows.add(
            {
                "name": "parent",
                "queue_name": queue_name,
                "data": {},
                "children": [{"name": "c", "queue_name": queue_name, "data": {}}],
            },
            budget=Budget(
                max_total_tokens=1000,
                max_tokens={"output": 500},
                token_weights={"reasoning": 4},
                max_total_cost=1,
                cost_unit="usd",
                on_exceeded="fail",
            ),
        )
    expected = rename_queues(load_case("flow_budget").first, {"bp": queue_name}, "glide")
    assert_same(expected, found_in(raw, queue_name), times="ignored", allowed=AFTER_ADD)


async def test_a_recorded_budget_counts_as_on_node(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    loaded = load_dump(raw, "flow_budget", queue_name)

    async def call(job: Job[Any, Any]) -> int:
        await job.report_usage(
            model="m", tokens={"input": 10, "output": 5}, costs={"total": 0.01}, cost_unit="usd"
        )
        return 1

    async with Worker[Any, Any](queue_name, call, connection=server.url):
        completed = f"glide:{{{queue_name}}}:completed"
        await eventually(lambda: raw.zcard(completed) == 2, what="both recorded jobs complete")
    found = found_in(raw, queue_name)
    minutes = [key for key in found if ":usage:" in key]
    expected = {
        minutes.pop() if ":usage:" in key else key: dump
        for key, dump in loaded.expected("after_completion").items()
    }
    assert minutes == []
    assert_same(expected, found, times="ignored", allowed=AFTER_COMPLETION)


async def test_what_node_has_counted_is_read(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    load_dump(raw, "flow_budget", queue_name, moment="after_completion")
    async with Queue[Any, Any](queue_name, connection=server.url) as queue:
        budget = await queue.get_flow_budget("1")
    assert budget is not None
    assert (budget.max_total_tokens, budget.max_tokens, budget.token_weights) == (
        1000,
        {"output": 500},
        {"reasoning": 4},
    )
    assert (budget.used_tokens, budget.used_cost, budget.tokens) == (30, 0.02, {"input": 20, "output": 10})
    assert (budget.exceeded, budget.on_exceeded, budget.reserved_tokens) == (False, "fail", 0)
