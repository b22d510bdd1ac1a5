"""FlowProducer.get_flow: a tree or graph as it stands, within bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import valkey

from glidemq import FlowProducer, JobNode, Queue, ValidationError
from tests.interop.loader import load_dump
from tests.testkit.server import ValkeyServer


@pytest.fixture
async def flows(server: ValkeyServer) -> AsyncIterator[FlowProducer]:
    async with FlowProducer(connection=server.url) as made:
        yield made


def shape(node: JobNode) -> Any:
    return {node.job.name: [shape(child) for child in node.children]}


async def add_tree(flows: FlowProducer, queue_name: str) -> JobNode:
    return await flows.add(
        {
            "name": "root",
            "queue_name": queue_name,
            "data": 5,
            "children": [
                {
                    "name": "mid",
                    "queue_name": f"{queue_name}-b",
                    "children": [{"name": "leaf", "queue_name": queue_name}],
                },
                {"name": "other", "queue_name": queue_name},
            ],
        }
    )


async def test_a_tree_over_two_queues_is_read_as_it_was_added(flows: FlowProducer, queue_name: str) -> None:
    added = await add_tree(flows, queue_name)
    found = await flows.get_flow(queue_name, added.job.id)
    assert found is not None
    assert (found.job.data, await found.job.get_state()) == (5, "waiting-children")
    names = sorted(child.job.name for child in found.children)
    assert names == ["mid", "other"]
    [mid] = [child for child in found.children if child.job.name == "mid"]
    assert shape(mid) == {"mid": [{"leaf": []}]}
    assert mid.job.queue_name == f"{queue_name}-b"


@pytest.mark.parametrize(("bound", "jobs"), [({"depth": 0}, 1), ({"depth": 1}, 3), ({"max_jobs": 2}, 2)])
async def test_what_is_beyond_the_bounds_is_left_out(
    flows: FlowProducer, queue_name: str, bound: dict[str, int], jobs: int
) -> None:
    added = await add_tree(flows, queue_name)
    found = await flows.get_flow(queue_name, added.job.id, **bound)
    assert found is not None

    def count(node: JobNode) -> int:
        return 1 + sum(count(child) for child in node.children)

    assert count(found) == jobs


async def test_removed_children_are_left_out_and_no_job_is_none(
    flows: FlowProducer, queue_name: str, server: ValkeyServer
) -> None:
    added = await add_tree(flows, queue_name)
    async with Queue[Any, Any](queue_name, connection=server.url) as queue:
        await queue.remove(added.children[1].job.id)
    found = await flows.get_flow(queue_name, added.job.id)
    assert found is not None
    assert [child.job.name for child in found.children] == ["mid"]
    assert await flows.get_flow(queue_name, "nobody") is None


async def test_a_recorded_graph_of_node_is_read_with_its_shared_leaf(
    flows: FlowProducer, raw: valkey.Valkey, queue_name: str
) -> None:
    load_dump(raw, "dag", queue_name)
    found = await flows.get_flow(queue_name, "1")
    assert found is not None
    assert shape(found) == {"d": [{"b": [{"a": []}]}, {"c": [{"a": []}]}]}
    assert found.children[0].children[0] is found.children[1].children[0]


async def test_bounds_that_are_none_are_refused(flows: FlowProducer) -> None:
    with pytest.raises(ValidationError, match="depth must be a whole number from 0 on"):
        await flows.get_flow("q", "1", depth=-1)
    with pytest.raises(ValidationError, match="max_jobs must be a whole number from 1 on"):
        await flows.get_flow("q", "1", max_jobs=0)
