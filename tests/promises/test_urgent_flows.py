"""A workflow is tagged with its priority where it is triggered: all of its jobs overtake what waits for no one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from glidemq import FlowJob, FlowProducer, Job, JobNode, Queue, ValidationError, Worker
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.basics_app:app"

AnyQueue = Queue[Any, Any]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(queue_name, connection=server.url) as made:
        yield made


@pytest.fixture
async def flows(server: ValkeyServer) -> AsyncIterator[FlowProducer]:
    async with FlowProducer(connection=server.url) as made:
        yield made


async def test_children_and_parent_of_an_urgent_flow_start_before_a_backlog(
    queue: AnyQueue, flows: FlowProducer, server: ValkeyServer
) -> None:
    order: list[str] = []

    async def take(job: Job[Any, Any]) -> None:
        order.append(job.name)

    await queue.add_bulk([("batch", None, {"priority": 100}) for _ in range(10)])
    await queue.add_bulk([("batch", None) for _ in range(10)])
    parts: list[FlowJob] = [{"name": "part", "queue_name": queue.name} for _ in range(3)]
    await flows.add({"name": "answer", "queue_name": queue.name, "children": parts}, priority=1)
    async with Worker[Any, Any](queue.name, take, connection=server.url):
        await eventually(lambda: len(order) == 24, "all jobs have started")
    assert order[:3] == ["part"] * 3
    assert order.index("answer") <= 4, "the parent waited behind the backlog"


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_actor_processes_start_an_urgent_flow_before_a_backlog(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str
) -> None:
    async with (
        AnyQueue(f"{kind}-order", connection=own_server.url) as queue,
        FlowProducer(connection=own_server.url) as flows,
    ):
        await launch(APP, "--procs", "1").ready()
        # It holds the only slot, so that what follows is chosen from all of them.
        first = await queue.add("first", "gate")
        assert first is not None
        await eventually(lambda: history.runs_of(first.id), "the first one runs")
        await queue.add_bulk([("batch", None, {"priority": 100}) for _ in range(10)])
        parts: list[FlowJob] = [{"name": "part", "queue_name": queue.name}]
        flow = await flows.add({"name": "answer", "queue_name": queue.name, "children": parts}, priority=1)
        history.open_gate("order")
        await eventually(lambda: len(history.finished()) == 13, "all have run")
        started = [run.id for run in history.runs()]
    assert started[:2] == [first.id, flow.children[0].job.id]
    assert started.index(flow.job.id) <= 3, "the parent waited behind the backlog"


def priorities(node: JobNode) -> dict[str, int]:
    found = {node.job.name: node.job.priority}
    for child in node.children:
        found |= priorities(child)
    return found


async def test_priority_of_a_flow_is_that_of_each_job_that_states_none(
    queue: AnyQueue, flows: FlowProducer
) -> None:
    tree: Any = {
        "name": "root",
        "queue_name": queue.name,
        "children": [
            {"name": "own", "queue_name": queue.name, "opts": {"priority": 9}},
            {"name": "none", "queue_name": queue.name, "opts": {"priority": 0}},
            {
                "name": "inner",
                "queue_name": queue.name,
                "opts": {"attempts": 2},
                "children": [{"name": "leaf", "queue_name": queue.name}],
            },
        ],
    }
    expected = {"root": 7, "own": 9, "none": 0, "inner": 7, "leaf": 7}
    one = await flows.add(tree, priority=7)
    [two] = await flows.add_bulk([tree], priority=7)
    assert priorities(one) == priorities(two) == expected
    stored = await flows.get_flow(queue.name, one.job.id)
    assert stored is not None and priorities(stored) == expected
    graph = await flows.add_dag(
        [
            {"name": "load", "queue_name": queue.name},
            {"name": "use", "queue_name": queue.name, "deps": ["load"], "opts": {"priority": 3}},
        ],
        priority=7,
    )
    assert {name: job.priority for name, job in graph.items()} == {"load": 7, "use": 3}


async def test_bad_priority_of_a_flow_is_refused_before_anything_is_sent(
    queue: AnyQueue, flows: FlowProducer
) -> None:
    with pytest.raises(ValidationError, match="Priority must be <= 2048"):
        await flows.add({"name": "root", "queue_name": queue.name}, priority=5000)
    assert await queue.count() == 0
