"""Parents and children in different slots, on different nodes: letters between them arrive, whatever the policy."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from glidemq import Budget, DagNode, FlowJob, FlowProducer, Job, JobOptions, Queue, Worker
from tests.cluster.app import PLAIN_QUEUES_VARIABLE, QUEUES_VARIABLE
from tests.cluster.flow_app import work
from tests.testkit.cluster import Cluster, names_on_each_primary
from tests.testkit.runtime import Runtime
from tests.testkit.waiting import eventually

RUN = uuid.uuid4().hex[:6]  # several processes of one run of pytest share the cluster
# A queue on each of the three primaries. Whose roots are plain functions has coroutines for the next level.
NAMES = {
    kind: names_on_each_primary(f"{kind}-{RUN}") for kind in ("worker", "coroutine-roots", "function-roots")
}


async def ended(job: Job[Any, Any]) -> str | None:
    state = await job.get_state()
    return state if state in ("completed", "failed") else None


async def end_of(job: Job[Any, Any]) -> str:
    state = await eventually(lambda: ended(job), what="the job's end")
    assert isinstance(state, str)
    await job.refresh()
    return state


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Runtime]:
    """One actor process for coroutines and one for plain functions."""
    directory = tmp_path_factory.mktemp("flows")
    (a, b, c), (d, e, f) = NAMES["coroutine-roots"], NAMES["function-roots"]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(QUEUES_VARIABLE, ",".join((a, c, e)))
        environment.setenv(PLAIN_QUEUES_VARIABLE, ",".join((b, d, f)))
        running = Runtime(
            directory, "tests.cluster.flow_app:app", url=cluster.url, effects=directory / "effects",
            arguments=("--procs", "1"),
        ).start()  # fmt: skip
    yield running
    try:
        assert running.stop() == 0
        assert not running.lines(" ERROR ")
    finally:
        running.clean_up()


@pytest.fixture(params=NAMES)
def names(request: pytest.FixtureRequest) -> list[str]:
    return NAMES[request.param]


@pytest.fixture
async def flows(
    request: pytest.FixtureRequest, cluster: Cluster, names: list[str]
) -> AsyncIterator[FlowProducer]:
    """A producer, while workers, or actor processes, serve the three queues."""
    async with AsyncExitStack() as stack:
        if names is NAMES["worker"]:
            for name in names:
                await stack.enter_async_context(
                    Worker[Any, Any](name, work, connection=cluster.url, concurrency=4)
                )
        else:
            await request.getfixturevalue("runtime").ready()
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
    ("policy", "state", "told"),
    [
        ("fail_parent", "failed", [None]),
        ("ignore", "completed", [[[7], ["no good"]]]),
        # The parent runs as soon as a child fails: the other one may or may not have ended.
        ("continue", "completed", [[[], ["no good"]], [[7], ["no good"]]]),
        ("remove", "completed", [[[7], []]]),
    ],
)
async def test_a_failure_on_another_node_means_what_its_policy_says(
    flows: FlowProducer, names: list[str], policy: Any, state: str, told: list[Any]
) -> None:
    a, b, c = names
    root = await flows.add(
        {
            "name": "tell",
            "queue_name": a,
            "children": [
                {"name": "n", "queue_name": b, "data": 7},
                {"name": "bad", "queue_name": c, "opts": {"on_failure": policy}},
            ],
        }
    )
    assert await end_of(root.job) == state
    assert root.job.return_value in told


async def test_a_running_job_waits_for_children_on_another_node(
    flows: FlowProducer, names: list[str], cluster: Cluster
) -> None:
    a, b, _ = names
    data = {"queue": b, "url": cluster.url} if names is NAMES["worker"] else {"queue": b}
    roots = await asyncio.gather(
        *(flows.add({"name": "adds", "queue_name": a, "data": data}) for _ in range(4))
    )
    assert {await end_of(root.job) for root in roots} == {"completed"}
    assert {root.job.return_value for root in roots} == {3}


def calls(names: list[str], count: int, **opts: Any) -> FlowJob:
    """A root that uses nothing, after so many jobs in these queues that use ten tokens each."""
    options: JobOptions = {"estimated_tokens": {"output": 12}, "on_failure": "ignore", **opts}  # type: ignore[typeddict-item]
    children: list[FlowJob] = [
        {"name": "call", "queue_name": names[number % len(names)], "data": 10, "opts": options}
        for number in range(count)
    ]
    return {"name": "sum", "queue_name": names[0], "opts": {"estimated_tokens": 0}, "children": children}


@pytest.mark.parametrize("budget", [Budget(max_total_tokens=65), Budget(max_tokens={"output": 65})])
async def test_a_budget_holds_for_jobs_on_all_nodes(
    flows: FlowProducer, names: list[str], cluster: Cluster, budget: Budget
) -> None:
    node = await flows.add(calls(names, 15), budget=budget)
    assert await end_of(node.job) == "completed"
    # The sixth has 15 tokens left, the seventh 5.
    assert node.job.return_value == 60
    ends = [await end_of(child.job) for child in node.children]
    assert (ends.count("completed"), ends.count("failed")) == (6, 9)
    async with Queue[Any, Any](names[0], connection=cluster.url) as queue:

        async def settled() -> bool:
            budget = await queue.get_flow_budget(node.job.id)
            return budget is not None and (budget.used_tokens, budget.reserved_tokens) == (60, 0)

        await eventually(settled, what="nothing is reserved any more")
        usage = await queue.get_flow_usage(node.job.id)
        assert (usage.total_tokens, usage.models) == (60, {"m": 6})


async def test_a_paused_flow_goes_on_on_all_nodes_when_its_budget_is_raised(
    flows: FlowProducer, names: list[str], cluster: Cluster
) -> None:
    node = await flows.add(calls(names, 9), budget=Budget(max_total_tokens=45, on_exceeded="pause"))

    async def paused() -> bool:
        """Whether four have run, and each of the others is put off for a day."""
        for child in node.children:
            await child.job.refresh()
        delays = [child.job.delay for child in node.children if await child.job.is_delayed()]
        completed = sum([await child.job.is_completed() for child in node.children])
        return completed == 4 and delays == [86_400] * 5

    await eventually(paused, what="the others are paused")
    async with Queue[Any, Any](names[0], connection=cluster.url) as queue:
        raised = await queue.update_flow_budget(node.job.id, max_total_tokens=1000)
        assert (raised.max_total_tokens, raised.used_tokens) == (1000, 40)
    assert await end_of(node.job) == "completed"
    assert node.job.return_value == 90
