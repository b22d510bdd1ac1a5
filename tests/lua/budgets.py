"""Flows with a budget, their letters carried as the runtime carries them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from glidemq.commands.command import unpack
from glidemq.commands.enqueue import JobRow
from glidemq.options.job_options import to_wire
from tests.lua.driven_queue import DrivenQueue, Started
from tests.lua.families import add_flow, letters

FLOW = "root"
LIMITS = {"onExceeded": "fail", "maxTotalTokens": "100"}


def budgeted(root: DrivenQueue, job_id: str, estimate: int | None = None, **row: Any) -> bytes:
    """The row of a job that uses the budget of the flow in `root`."""
    opts = {} if estimate is None else {"estimatedTokens": estimate}
    return JobRow.pack(
        row.pop("name", "call"),
        "{}",
        orjson.dumps(opts | row.pop("opts", {})),
        custom_id=job_id,
        budget_key=root.key(f"budget:{FLOW}"),
        **row,
    )


def add_budgeted(
    queue: DrivenQueue, *rows: bytes, limits: Mapping[str, str] | None = LIMITS, **arguments: Any
) -> None:
    """Add jobs, and their flow's budget to this queue unless `limits` is None."""
    budgets = {} if limits is None else {FLOW: limits}
    assert add_flow(queue, *rows, budgets=budgets, **arguments) == [b"ok"]


def estimating(root: DrivenQueue, job_id: str, **options: Any) -> bytes:
    """Such a row of a job with these options of `Queue.add`."""
    return budgeted(root, job_id, opts=orjson.loads(to_wire(options).json))


def report(
    queue: DrivenQueue,
    job: Started,
    tokens: float = 0,
    cost: float = 0,
    *,
    costs: Mapping[str, float] | None = None,
    **categories: float,
) -> None:
    """What this run has used so far."""
    counted = categories or {"output": tokens}
    spent = costs or ({"total": cost} if cost else {})
    reply = queue.call(
        "report_usage",
        id=job.id,
        token=job.token,
        usage={"model": "m", "totalTokens": sum(counted.values()), "totalCost": math.fsum(spent.values())},
        tokens=counted,
        costs=spent,
        events=True,
    )
    assert reply[0] == b"ok", reply


def budget_of(queue: DrivenQueue) -> dict[str, str]:
    """The budget's hash."""
    found = queue.client.hgetall(queue.key(f"budget:{FLOW}"))
    return {name.decode(): value.decode() for name, value in found.items()}


def used(queue: DrivenQueue) -> float:
    return float(budget_of(queue)["usedTokens"])


def reserved(queue: DrivenQueue, counter: str = "usedTokens") -> float:
    """What is reserved of one counter at present."""
    status, _, flat = queue.call("get_budget", flow=FLOW)
    assert status == b"ok"
    pairs = dict(zip(flat[::2], flat[1::2], strict=True))
    return float(pairs.get(counter.encode(), 0))


def update(queue: DrivenQueue, **limits: str) -> list[Any]:
    flat = [text for pair in limits.items() for text in pair]
    return queue.call("update_budget", flow=FLOW, set=flat, unset=[], limit=100)


FUNCTIONS = {b"budget": "hear_budgets", b"budget-answer": "answer_budgets", b"child": "hear_children"}


def carry(*queues: DrivenQueue, times: int = 1) -> int:
    """All letters, and those that follow from them; each heard `times` times. How many there were."""
    by_prefix = {queue.key("").removesuffix(":").encode(): queue for queue in queues}
    carried = 0
    while True:
        found = [(queue, letter) for queue in queues for letter in letters(queue)]
        if not found:
            return carried
        for queue, (entry_id, kind, to, body, _) in found:
            for _ in range(times):
                reply = by_prefix[to].call(FUNCTIONS[kind], rows=[unpack(body)])
                assert reply[0] == b"ok", reply
            queue.call("clear_outbox", entries=[entry_id])
            carried += 1
