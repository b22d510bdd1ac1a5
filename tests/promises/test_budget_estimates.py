"""With upper-bound estimates no limit of a flow's budget is exceeded: tokens or costs, in all or by category."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from glidemq import Budget, FlowBudget, FlowJob, FlowProducer, JobNode, Queue
from tests.promises.estimate_app import COSTS, TOKENS
from tests.promises.test_budgets import end_of
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.estimate_app:app"
CALLS = 40
Launch = Callable[..., Runtime]
AnyQueue = Queue[Any, Any]
WEIGHTS = {"reasoning": 4, "cached": 0.25}
BUDGETS = {
    "total-tokens": Budget(max_total_tokens=700, token_weights=WEIGHTS, max_tokens={"reasoning": 1000}),
    "tokens": Budget(
        max_total_tokens=9000, token_weights=WEIGHTS, max_tokens={"reasoning": 70, "input": 150}
    ),
    "total-cost": Budget(max_total_cost=3.1, cost_unit="usd"),
    "costs": Budget(max_costs={"output": 1.5, "input": 9}, max_total_cost=20),
}


def in_tenths(costs: Mapping[str, int]) -> dict[str, float]:
    return {category: tenths / 10 for category, tenths in costs.items()}


def a_call(queue: str, numbers: random.Random, end: str) -> FlowJob:
    """A job that uses at most what it states, as far as anybody can say beforehand, and says so in two reports."""
    tokens = {category: numbers.randint(0, 20) for category in ("input", "output", "reasoning", "cached")}
    costs = {category: numbers.randint(0, 2) for category in ("input", "output")}
    used = {category: numbers.randint(most // 2, most) for category, most in tokens.items()}
    first = {"tokens": {category: number // 2 for category, number in used.items()}}
    options: Any = {
        "estimated_tokens": tokens,
        "estimated_cost": in_tenths(costs),
        "on_failure": "ignore",
        "attempts": 3,
    }
    data = {"parts": [first, {"tokens": used, "costs": in_tenths(costs)}], "end": end}
    return {"name": "call", "queue_name": queue, "data": data, "opts": options}


async def settled(queue: AnyQueue, flow_id: str) -> FlowBudget:
    async def look() -> FlowBudget | None:
        budget = await queue.get_flow_budget(flow_id)
        assert budget is not None
        return None if budget.reserved_tokens or budget.reserved_cost else budget

    budget = await eventually(look, what="reservations are settled")
    assert budget is not None
    return budget


def left(budget: FlowBudget) -> list[float]:
    """What every limit leaves."""
    return [
        (budget.max_total_tokens or 9999) - budget.used_tokens,
        (budget.max_total_cost or 9999) - budget.used_cost,
        *(most - budget.tokens.get(category, 0) for category, most in budget.max_tokens.items()),
        *(most - budget.costs.get(category, 0) for category, most in budget.max_costs.items()),
    ]


def needed(opts: Mapping[str, Any], budget: FlowBudget) -> list[float]:
    """What a job with these estimates needs of each."""
    tokens, costs = opts["estimated_tokens"], opts["estimated_cost"]
    return [
        sum(number * budget.token_weights.get(category, 1) for category, number in tokens.items()),
        sum(costs.values()),
        *(tokens[category] for category in budget.max_tokens),
        *(costs[category] for category in budget.max_costs),
    ]


async def run(node: JobNode) -> list[str]:
    assert await end_of(node.job) == "completed"
    return [await end_of(child.job) for child in node.children]


@pytest.mark.parametrize(
    ("root", "target"),
    [("sync-spend", "sync-spend"), ("async-spend", "async-spend"), ("async-spend", "sync-spend")],
)
@pytest.mark.parametrize("limited", BUDGETS)
async def test_no_limit_is_exceeded_although_jobs_fail_and_processes_die(
    launch: Launch, own_server: ValkeyServer, root: str, target: str, limited: str
) -> None:
    numbers = random.Random(len(limited))
    ends = ["dies", "fails", "fails", *["completes"] * (CALLS - 3)]
    async with (
        AnyQueue(root, connection=own_server.url) as queue,
        FlowProducer(connection=own_server.url) as flows,
    ):
        tree: FlowJob = {
            "name": "root",
            "queue_name": root,
            "data": {},
            "opts": {"estimated_tokens": 0, "estimated_cost": 0},
            "children": [a_call(target, numbers, end) for end in ends],
        }
        node = await flows.add(tree, budget=BUDGETS[limited])
        await launch(APP, "--procs", "1").ready()
        ended = await run(node)
        budget = await settled(queue, node.job.id)

    print(
        f"[measured] left: {[round(amount, 2) for amount in left(budget)]}; {ended.count('completed')} of {CALLS}"
    )
    assert not budget.exceeded
    assert min(left(budget)) > -1e-9
    # Somebody was refused, but nobody for whom there was room.
    refused = [child.job for child, end in zip(node.children, ended, strict=True) if end == "failed"]
    assert {job.failed_reason for job in refused} == {"Budget exceeded"}
    for job in refused:
        pairs = zip(needed(job.opts, budget), left(budget), strict=True)
        assert any(amount > room + 1e-9 for amount, room in pairs), job.opts


async def test_jobs_that_state_nothing_reserve_what_their_processor_states(
    launch: Launch, own_server: ValkeyServer
) -> None:
    calls: list[FlowJob] = [
        {"name": "call", "queue_name": "assumed", "opts": {"on_failure": "ignore"}} for _ in range(30)
    ]
    async with (
        AnyQueue("async-spend", connection=own_server.url) as queue,
        FlowProducer(connection=own_server.url) as flows,
    ):
        opts: Any = {"estimated_tokens": 0, "estimated_cost": 0}
        node = await flows.add(
            {"name": "root", "queue_name": "async-spend", "data": {}, "opts": opts, "children": calls},
            budget=Budget(max_total_cost=1, max_tokens={"output": 1000}),
        )
        await launch(APP, "--procs", "2").ready()
        ended = await run(node)
        budget = await settled(queue, node.job.id)
    assert ended.count("completed") == 10
    assert (budget.used_cost, budget.exceeded) == (pytest.approx(10 * COSTS["output"]), False)
    assert budget.tokens == {"output": 10 * TOKENS["output"]}
