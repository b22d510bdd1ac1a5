"""The jobs of a flow stay within its budget, in whichever queues and processes they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from glidemq import (
    Budget,
    BudgetExceededEvent,
    FlowBudget,
    FlowJob,
    FlowProducer,
    Job,
    JobNotFoundError,
    ParentJob,
    Queue,
    QueueEvents,
    ValidationError,
    Worker,
)
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.budget_app:app"
Launch = Callable[..., Runtime]
AnyQueue = Queue[Any, Any]


def calls(root: str, queue: str, tokens: list[int], *, estimate: int | None = None, **opts: Any) -> FlowJob:
    """A root that uses nothing, after jobs that use these tokens."""
    estimates = {} if estimate is None else {"estimated_tokens": estimate}
    options: Any = {"on_failure": "ignore", **estimates, **opts}
    children: list[FlowJob] = [
        {"name": "call", "queue_name": queue, "data": {"tokens": number}, "opts": options}
        for number in tokens
    ]
    return {
        "name": "root",
        "queue_name": root,
        "data": {},
        "opts": {"estimated_tokens": 0},
        "children": children,
    }


async def use(job: Job[Any, Any]) -> float:
    data: dict[str, float] = job.data or {}
    tokens = data.get("tokens", 0)
    if tokens:
        await job.report_usage(model="m", tokens={"output": tokens}, costs={"total": tokens / 1000})
    return tokens


async def has_ended(job: Job[Any, Any]) -> str | None:
    state = await job.get_state()
    return state if state in ("completed", "failed") else None


async def end_of(job: Job[Any, Any]) -> str:
    state = await eventually(lambda: has_ended(job), what=f"the end of job {job.id}")
    await job.refresh()
    return str(state)


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        yield queue


@pytest.fixture
async def flows(server: ValkeyServer) -> AsyncIterator[FlowProducer]:
    async with FlowProducer(connection=server.url) as producer:
        yield producer


@pytest.fixture
async def other(queue: AnyQueue, server: ValkeyServer) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(f"{queue.name}-other", connection=server.url) as other:
        yield other


@pytest.fixture
async def working(
    queue: AnyQueue, other: AnyQueue, server: ValkeyServer
) -> AsyncIterator[list[Worker[Any, Any]]]:
    """Workers on both queues."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                Worker[Any, Any](one.name, use, connection=server.url, concurrency=10)
            )
            for one in (queue, other)
        ]


# -- in one process ------------------------------------------------------------------------------------------


async def test_amounts_without_a_fraction_read_as_integers(
    queue: AnyQueue, flows: FlowProducer, working: list[Worker[Any, Any]]
) -> None:
    node = await flows.add(
        calls(queue.name, queue.name, [100]), budget=Budget(max_total_tokens=1000, max_total_cost=0.5)
    )
    await end_of(node.job)
    budget = await queue.get_flow_budget(node.job.id)
    assert budget is not None
    amounts = (budget.max_total_tokens, budget.used_tokens, budget.tokens, budget.reserved_tokens)
    assert repr(amounts) == "(1000, 100, {'output': 100}, 0)"
    assert repr((budget.max_total_cost, budget.used_cost)) == "(0.5, 0.1)"


async def test_budget_is_stored_and_read_back(queue: AnyQueue, flows: FlowProducer) -> None:
    budget = Budget(
        max_total_tokens=1000,
        max_tokens={"output": 500},
        token_weights={"reasoning": 4},
        max_total_cost=1.5,
        max_costs={"input": 0.5},
        cost_unit="usd",
        on_exceeded="pause",
    )
    node = await flows.add(calls(queue.name, queue.name, [1, 2]), budget=budget)
    assert await queue.get_flow_budget(node.job.id) == FlowBudget(
        max_total_tokens=1000,
        max_tokens={"output": 500},
        token_weights={"reasoning": 4},
        max_total_cost=1.5,
        max_costs={"input": 0.5},
        cost_unit="usd",
        on_exceeded="pause",
        used_tokens=0,
        used_cost=0,
        tokens={},
        costs={},
        reserved_tokens=0,
        reserved_cost=0,
        exceeded=False,
    )
    for job in (node.job, node.children[0].job):
        await job.refresh()
        assert job.budget_key == queue.keys.budget(node.job.id)
    assert await queue.get_flow_budget("none") is None
    with pytest.raises(JobNotFoundError):
        await queue.update_flow_budget("none", max_total_tokens=1)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_no_more_is_used_than_allowed_when_estimates_are_upper_bounds(
    queue: AnyQueue, other: AnyQueue, flows: FlowProducer, working: Any, elsewhere: bool
) -> None:
    target = other.name if elsewhere else queue.name
    flow = calls(queue.name, target, [30] * 20, estimate=40)
    node = await flows.add(flow, budget={"max_total_tokens": 200, "max_total_cost": 100})
    assert await end_of(node.job) == "completed"
    ends = [await end_of(child.job) for child in node.children]
    # The sixth has 50 tokens left, the seventh 20: less than it might use.
    assert (ends.count("completed"), ends.count("failed")) == (6, 14)
    assert {child.job.failed_reason for child in node.children} == {None, "Budget exceeded"}

    async def settled() -> FlowBudget | None:
        budget = await queue.get_flow_budget(node.job.id)
        return budget if budget is not None and budget.reserved_tokens == 0 else None

    budget = await eventually(settled, what="reservations are settled")
    assert budget is not None
    assert (budget.used_tokens, budget.tokens, budget.exceeded) == (180, {"output": 180}, False)
    assert budget.used_cost == pytest.approx(0.18)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_jobs_without_estimates_overshoot_by_one_at_first(
    queue: AnyQueue, other: AnyQueue, flows: FlowProducer, working: Any, elsewhere: bool
) -> None:
    target = other.name if elsewhere else queue.name
    node = await flows.add(calls(queue.name, target, [70] * 5), budget=Budget(max_total_tokens=60))
    ends = [await end_of(child.job) for child in node.children]
    assert sorted(ends) == ["completed", *["failed"] * 4]


async def test_job_that_is_refused_never_comes_again_and_says_so(
    queue: AnyQueue, flows: FlowProducer, working: list[Worker[Any, Any]]
) -> None:
    flow = calls(queue.name, queue.name, [10], estimate=100, attempts=5, on_failure="fail_parent")
    async with QueueEvents(queue.name, connection=queue._owned.options, last_event_id="0") as events:  # type: ignore[union-attr]
        node = await flows.add(flow, budget=Budget(max_total_tokens=50))
        child = node.children[0].job
        assert (await end_of(child), await end_of(node.job)) == ("failed", "failed")
        assert (child.failed_reason, child.attempts_made) == ("Budget exceeded", 0)
        async with asyncio.timeout(10):
            async for event in events:
                if isinstance(event, BudgetExceededEvent):
                    assert (event.job_id, event.flow_id, event.on_exceeded) == (child.id, node.job.id, "fail")
                    break


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_worker_tells_which_job_was_refused(
    queue: AnyQueue, other: AnyQueue, flows: FlowProducer, working: list[Worker[Any, Any]], elsewhere: bool
) -> None:
    told: list[list[tuple[str, str]]] = [[], []]
    for worker, heard in zip(working, told, strict=True):
        worker.on("budget-exceeded", lambda job_id, flow_id, heard=heard: heard.append((job_id, flow_id)))  # type: ignore[misc]
    target = other.name if elsewhere else queue.name
    node = await flows.add(calls(queue.name, target, [10], estimate=100), budget={"max_total_tokens": 50})
    assert await end_of(node.job) == "completed"
    expected = [(node.children[0].job.id, node.job.id)]
    await eventually(lambda: told == ([[], expected] if elsewhere else [expected, []]), what="the event")


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_paused_flow_goes_on_when_its_budget_is_raised(
    queue: AnyQueue, other: AnyQueue, flows: FlowProducer, working: Any, elsewhere: bool
) -> None:
    target = other if elsewhere else queue
    flow = calls(queue.name, target.name, [50] * 3, estimate=50)
    node = await flows.add(flow, budget=Budget(max_total_tokens=100, on_exceeded="pause"))

    async def paused() -> bool:
        states = [await child.job.get_state() for child in node.children]
        delays = [await target.get_job(child.job.id) for child in node.children]
        return sorted(states) == ["completed", "completed", "delayed"] and any(
            job is not None and job.delay == 86_400 for job in delays
        )

    await eventually(paused, what="the third call is paused")
    raised = await queue.update_flow_budget(node.job.id, max_total_tokens=150)
    assert (raised.max_total_tokens, raised.exceeded) == (150, False)
    assert await end_of(node.job) == "completed"
    assert {await end_of(child.job) for child in node.children} == {"completed"}


async def test_every_tree_of_add_bulk_has_an_account_of_its_own(
    queue: AnyQueue, flows: FlowProducer, working: Any
) -> None:
    trees = [calls(queue.name, queue.name, [50, 50], estimate=50) for _ in range(3)]
    nodes = await flows.add_bulk(trees, budget=[Budget(max_total_tokens=50), None, {"max_total_tokens": 100}])
    ends = [sorted([await end_of(child.job) for child in node.children]) for node in nodes]
    assert ends == [["completed", "failed"], ["completed"] * 2, ["completed"] * 2]
    assert await queue.get_flow_budget(nodes[1].job.id) is None


async def test_graph_has_one_budget(
    queue: AnyQueue, other: AnyQueue, flows: FlowProducer, working: Any
) -> None:
    data = {"tokens": 40}
    jobs = await flows.add_dag(
        [
            {"name": "a", "queue_name": other.name, "data": data, "opts": {"estimated_tokens": 40}},
            {
                "name": "b",
                "queue_name": queue.name,
                "data": data,
                "opts": {"estimated_tokens": 40},
                "deps": ["a"],
            },
            {
                "name": "last",
                "queue_name": queue.name,
                "data": data,
                "opts": {"estimated_tokens": 40},
                "deps": ["b"],
            },
        ],
        budget=Budget(max_total_tokens=90),
    )
    assert await end_of(jobs["last"]) == "failed"
    assert jobs["last"].failed_reason == "Budget exceeded"
    assert {await end_of(jobs[name]) for name in "ab"} == {"completed"}


async def test_child_that_a_running_parent_adds_elsewhere_joins_the_budget(
    queue: AnyQueue, other: AnyQueue, flows: FlowProducer, server: ValkeyServer
) -> None:
    async def spawn(job: Job[Any, Any]) -> None:
        child = await other.add("late", None, parent=ParentJob(job.queue_name, job.id))
        assert child is not None

    node = await flows.add({"name": "root", "queue_name": queue.name}, budget=Budget(max_total_tokens=5))
    async with Worker[Any, Any](queue.name, spawn, connection=server.url):
        await end_of(node.job)
    [child] = await other.get_jobs("waiting")
    assert child.budget_key == queue.keys.budget(node.job.id)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_running_parent_may_wait_for_a_child_although_nothing_is_estimated(
    queue: AnyQueue, other: AnyQueue, flows: FlowProducer, server: ValkeyServer, elsewhere: bool
) -> None:
    target = other if elsewhere else queue

    async def spawn(job: Job[Any, Any]) -> str:
        await job.report_usage(model="m", tokens={"output": 10})
        if job.name == "root":
            child = await target.add("child", None, parent=ParentJob(job.queue_name, job.id))
            return await child.wait_until_finished(timeout=20)
        return "done"

    node = await flows.add({"name": "root", "queue_name": queue.name}, budget=Budget(max_total_tokens=50))
    async with AsyncExitStack() as stack:
        for one in (queue, other):
            worker = Worker[Any, Any](one.name, spawn, connection=server.url, concurrency=2)
            await stack.enter_async_context(worker)
        assert await end_of(node.job) == "completed"

        async def told() -> bool:
            budget = await queue.get_flow_budget(node.job.id)
            return budget is not None and (budget.used_tokens, budget.reserved_tokens) == (20, 0)

        await eventually(told, what="the budget knows of both")


@pytest.mark.parametrize(
    ("budget", "what"),
    [
        ({}, "needs one of"),
        ({"max_total_tokens": 0}, "max_total_tokens must be a number above 0"),
        ({"max_total_tokens": True}, "max_total_tokens"),
        ({"max_total_cost": float("nan")}, "max_total_cost"),
        ({"max_tokens": {"output": -1}}, r"max_tokens\['output'\]"),
        ({"max_tokens": 5}, "max_tokens must map"),
        ({"max_total_tokens": 5, "token_weights": {"a": -1}}, "token_weights"),
        ({"max_total_tokens": 5, "on_exceeded": "stop"}, "on_exceeded"),
        ({"max_total_tokens": 5, "cost_unit": ""}, "cost_unit"),
        ({"maxTotalTokens": 5}, "did you mean 'max_total_tokens'"),
        ("much", "budget must be a Budget"),
    ],
)
async def test_budget_that_cannot_be_is_refused_before_anything_is_sent(
    queue: AnyQueue, flows: FlowProducer, budget: Any, what: str
) -> None:
    with pytest.raises(ValidationError, match=what):
        await flows.add({"name": "root", "queue_name": queue.name}, budget=budget)
    assert sum((await queue.get_job_counts()).values()) == 0


async def test_changes_that_cannot_be_are_refused(queue: AnyQueue, flows: FlowProducer) -> None:
    node = await flows.add({"name": "root", "queue_name": queue.name}, budget=Budget(max_total_tokens=5))
    with pytest.raises(ValidationError, match="at least one"):
        await queue.update_flow_budget(node.job.id)
    with pytest.raises(ValidationError, match="max_total_cost"):
        await queue.update_flow_budget(node.job.id, max_total_cost=-1)
    budget = await queue.update_flow_budget(node.job.id, max_total_tokens=None, max_total_cost=2)
    assert (budget.max_total_tokens, budget.max_total_cost) == (None, 2)
    with pytest.raises(ValidationError, match="one for each"):
        await flows.add_bulk([{"name": "root", "queue_name": queue.name}], budget=[None, None])


# -- in actor processes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roots", "target"),
    [("sync-budget", "sync-budget"), ("async-budget", "async-budget"), ("async-budget", "sync-budget")],
)
async def test_killed_processes_leave_no_reservation_behind(
    launch: Launch, own_server: ValkeyServer, history: History, roots: str, target: str
) -> None:
    async with (
        AnyQueue(roots, connection=own_server.url) as queue,
        FlowProducer(connection=own_server.url) as flows,
    ):
        flow = calls(roots, target, [20] * 8, estimate=20)
        children: Any = flow["children"]  # type: ignore[typeddict-item]
        children[3]["data"]["die"] = True
        node = await flows.add(flow, budget=Budget(max_total_tokens=140))
        await launch(APP, "--procs", "1").ready()
        assert await end_of(node.job) == "completed"
        ends = [await end_of(child.job) for child in node.children]
        assert "completed" in ends

        async def settled() -> FlowBudget | None:
            budget = await queue.get_flow_budget(node.job.id)
            return budget if budget is not None and budget.reserved_tokens == 0 else None

        budget = await eventually(settled, what="reservations are settled")
        assert budget is not None
        runs = [run for child in node.children for run in history.runs_of(child.job.id, target)]
        # In an async process others die with it, perhaps before they have reported; all run again.
        assert budget.used_tokens <= min(20 * len(runs), 140)
        assert budget.used_tokens == 20 * len(runs) or target == "async-budget"
        assert not budget.exceeded
