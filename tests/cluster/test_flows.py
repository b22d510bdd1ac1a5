"""Parents and children in different slots, on different nodes: letters between them arrive, whatever the policy."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from glidemq import Budget, DagNode, FlowJob, FlowProducer, Job, ParentJob, Queue, Worker
from glidemq.commands.keys import QueueKeys
from tests.testkit.cluster import Cluster
from tests.testkit.waiting import eventually


async def ended(job: Job[Any, Any]) -> str | None:
    state = await job.get_state()
    return state if state in ("completed", "failed") else None


async def end_of(job: Job[Any, Any]) -> str:
    state = await eventually(lambda: ended(job), what="the job's end")
    assert isinstance(state, str)
    await job.refresh()
    return state


@pytest.fixture
def names(cluster: Cluster) -> list[str]:
    """A queue on each of the three primaries."""
    run = uuid.uuid4().hex[:6]
    found: dict[object, str] = {}
    for number in itertools.count():
        name = f"flow-{run}-{number}"
        found.setdefault(cluster.primary_of(QueueKeys("glide", name).meta), name)
        if len(found) == 3:
            return list(found.values())
    raise AssertionError


async def work(job: Job[Any, Any]) -> Any:
    if job.name == "bad":
        raise RuntimeError("no good")
    if job.name == "adds":
        values = await job.get_children_values()
        if not values:
            async with Queue[Any, Any](job.data["queue"], connection=job.data["url"]) as children:
                for number in range(3):
                    await children.add("n", number, parent=ParentJob(job.queue_name, job.id))
            await job.move_to_waiting_children()
        return sum(values.values())
    if job.name == "call":
        await job.report_usage(model="m", tokens={"output": job.data})
    if job.name == "sum":
        return sum((await job.get_children_values()).values())
    return job.data


@pytest.fixture
async def flows(cluster: Cluster, names: list[str]) -> AsyncIterator[FlowProducer]:
    """A producer, while workers serve the three queues."""
    async with AsyncExitStack() as stack:
        for name in names:
            await stack.enter_async_context(
                Worker[Any, Any](name, work, connection=cluster.url, concurrency=4)
            )
        yield await stack.enter_async_context(FlowProducer(connection=cluster.url))


async def test_a_tree_over_three_nodes_runs_from_its_leaves_to_its_root(
    flows: FlowProducer, names: list[str]
) -> None:
    a, b, c = names
    nodes = await flows.add_bulk(
        [
            {
                "name": "sum",
                "queue_name": a,
                "children": [
                    {"name": "n", "queue_name": b, "data": 1},
                    {
                        "name": "sum",
                        "queue_name": c,
                        "children": [
                            {"name": "n", "queue_name": a, "data": 10, "opts": {"remove_on_complete": True}},
                            {"name": "n", "queue_name": b, "data": 100},
                        ],
                    },
                ],
            }
            for _ in range(10)
        ]
    )
    assert {await end_of(node.job) for node in nodes} == {"completed"}
    assert {node.job.return_value for node in nodes} == {111}


async def test_a_graph_over_three_nodes_runs_in_its_order(flows: FlowProducer, names: list[str]) -> None:
    a, b, c = names
    graph: list[DagNode] = [
        {"name": "leaf", "queue_name": a, "data": 1},
        {"name": "left", "queue_name": b, "data": 2, "deps": ["leaf"]},
        {"name": "right", "queue_name": c, "data": 3, "deps": ["leaf"]},
        {"name": "sum", "queue_name": a, "deps": ["left", "right"]},
    ]
    jobs = await flows.add_dag(graph)
    assert await end_of(jobs["sum"]) == "completed"
    assert jobs["sum"].return_value == 5


@pytest.mark.parametrize(
    ("policy", "state", "value"),
    [("fail_parent", "failed", None), ("ignore", "completed", 7), ("remove", "completed", 7)],
)
async def test_a_failure_on_another_node_means_what_its_policy_says(
    flows: FlowProducer, names: list[str], policy: Any, state: str, value: int | None
) -> None:
    a, b, c = names
    root = await flows.add(
        {
            "name": "sum",
            "queue_name": a,
            "children": [
                {"name": "n", "queue_name": b, "data": 7},
                {"name": "bad", "queue_name": c, "opts": {"on_failure": policy}},
            ],
        }
    )
    assert await end_of(root.job) == state
    assert root.job.return_value == value


async def test_a_running_job_waits_for_children_on_another_node(
    flows: FlowProducer, names: list[str], cluster: Cluster
) -> None:
    a, b, _ = names
    roots = await asyncio.gather(
        *(
            flows.add({"name": "adds", "queue_name": a, "data": {"queue": b, "url": cluster.url}})
            for _ in range(4)
        )
    )
    assert {await end_of(root.job) for root in roots} == {"completed"}
    assert {root.job.return_value for root in roots} == {3}


async def test_a_budget_holds_for_jobs_on_all_nodes(
    flows: FlowProducer, names: list[str], cluster: Cluster
) -> None:
    a, b, c = names
    calls: list[FlowJob] = [
        {
            "name": "call",
            "queue_name": queue,
            "data": 10,
            "opts": {"estimated_tokens": 12, "on_failure": "ignore"},
        }
        for queue in (a, b, c) * 5
    ]
    root: FlowJob = {"name": "sum", "queue_name": a, "opts": {"estimated_tokens": 0}, "children": calls}
    node = await flows.add(root, budget=Budget(max_total_tokens=65))
    assert await end_of(node.job) == "completed"
    # The sixth has 15 tokens left, the seventh 5.
    assert node.job.return_value == 60
    ends = [await end_of(child.job) for child in node.children]
    assert (ends.count("completed"), ends.count("failed")) == (6, 9)
    async with Queue[Any, Any](a, connection=cluster.url) as queue:

        async def settled() -> bool:
            budget = await queue.get_flow_budget(node.job.id)
            return budget is not None and (budget.used_tokens, budget.reserved_tokens) == (60, 0)

        await eventually(settled, what="nothing is reserved any more")
