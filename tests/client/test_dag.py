"""Graphs: their validation, how they are stored, and that every job runs after all it depends on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import valkey

from glidemq import (
    CycleError,
    DagNode,
    FlowProducer,
    Job,
    Queue,
    SharedClient,
    ValidationError,
    Worker,
    chain,
    chord,
    dag,
    group,
    topo_sort,
    validate_dag,
)
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


@pytest.fixture
async def client(server: ValkeyServer) -> AsyncIterator[SharedClient]:
    """An open connection."""
    async with await SharedClient.connect(server.url) as shared:
        yield shared


def node(name: str, *deps: str, queue: str = "q", **members: Any) -> DagNode:
    return {"name": name, "queue_name": queue, "deps": deps, **members}  # type: ignore[typeddict-item]


def diamond(queue: str) -> list[DagNode]:
    return [
        node("A", queue=queue),
        node("B", "A", queue=queue),
        node("C", "A", queue=queue),
        node("D", "B", "C", queue=queue),
    ]


# -- validation ----------------------------------------------------------------------------------------------


def test_names_come_after_those_they_depend_on() -> None:
    nodes = [node("d", "b", "c"), node("b", "a"), node("c", "a"), node("a"), node("z")]
    assert topo_sort(nodes) == ["a", "z", "b", "c", "d"]
    validate_dag([])


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([node("x"), node("x")], "Duplicate node name: x"),
        ([node("a", "b")], 'Node "a" depends on unknown node "b"'),
        ([{"name": ""}], "a DAG node needs a name, a non-empty string, not ''"),
        ([{"name": "a", "deps": "b"}], 'deps of DAG node "a" must be a list of names'),
        (["a"], "a DAG node must be a mapping, not str"),
    ],
)
def test_malformed_graphs_are_refused(nodes: Any, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        validate_dag(nodes)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("nodes", "cycle"),
    [
        ([node("a", "a")], ["a", "a"]),
        ([node("a", "b"), node("b", "a")], ["a", "b", "a"]),
        ([node("x", "a"), node("a", "b"), node("b", "c"), node("c", "a")], ["a", "b", "c", "a"]),
    ],
)
def test_a_cycle_is_named(nodes: list[DagNode], cycle: list[str]) -> None:
    with pytest.raises(CycleError) as caught:
        validate_dag(nodes)
    assert caught.value.cycle == cycle
    assert str(caught.value) == "DAG contains a cycle: " + " -> ".join(cycle)


def test_a_long_line_of_nodes_is_no_trouble() -> None:
    nodes = [node("0"), *(node(str(number), str(number - 1)) for number in range(1, 5000))]
    assert topo_sort(reversed(nodes))[-1] == "4999"


async def test_nodes_are_checked_before_any_call() -> None:
    async with FlowProducer(connection="valkey://127.0.0.1:1") as flows:
        with pytest.raises(CycleError):
            await flows.add_dag([node("a", "b"), node("b", "a")])
        with pytest.raises(ValidationError, match=r"lifo and ordering.key cannot be combined in a DAG node"):
            await flows.add_dag([node("a", opts={"lifo": True, "ordering": {"key": "k"}})])
        with pytest.raises(ValidationError, match="Unknown member of a dag node 'children'"):
            await flows.add_dag([node("a", children=[])])
        twice = {"job_id": "x"}
        with pytest.raises(ValidationError, match="Duplicate job ID in DAG"):
            await flows.add_dag([node("a", opts=twice), node("b", opts=twice)])
        assert await flows.add_dag([]) == {}


# -- adding --------------------------------------------------------------------------------------------------


async def test_a_diamond_is_numbered_and_stored_as_node_does_it(
    client: SharedClient, raw: valkey.Valkey, queue_name: str
) -> None:
    jobs = await dag(diamond(queue_name), client=client)
    assert {name: job.id for name, job in jobs.items()} == {"D": "1", "B": "2", "C": "3", "A": "4"}
    key = f"glide:{{{queue_name}}}:"
    stored: Any = raw
    assert set(stored.smembers(key + "parents:4")) == {f"{key}2".encode(), f"{key}3".encode()}
    assert stored.hget(key + "job:4", "parentIds") == b'["2","3"]'
    assert stored.hget(key + "job:4", "parentQueues") == f'["{queue_name}","{queue_name}"]'.encode()
    assert stored.hget(key + "job:1", "state") == b"waiting-children"
    assert await jobs["A"].get_parents() == [(queue_name, "2"), (queue_name, "3")]


@pytest.mark.parametrize("queues", [1, 2, 4])
async def test_every_node_runs_after_all_that_it_depends_on(
    server: ValkeyServer, client: SharedClient, queue_name: str, queues: int
) -> None:
    """Edges between queues included: of inner nodes, and of a leaf with dependents in several queues."""
    names = [f"{queue_name}-{number % queues}" for number in range(4)]
    ran: list[str] = []

    async def run(job: Job[Any, Any]) -> str:
        ran.append(job.name)
        return job.name.lower()

    nodes = [
        node("A", queue=names[0]),
        node("B", "A", queue=names[1]),
        node("C", "A", queue=names[2]),
        node("D", "B", "C", queue=names[3]),
    ]
    workers = [Worker[Any, Any](name, run, connection=server.url) for name in dict.fromkeys(names)]
    async with FlowProducer(client=client) as flows:
        await asyncio.gather(*(worker.start() for worker in workers))
        jobs = await flows.add_dag(nodes)
        await eventually(lambda: jobs["D"].is_completed(), what="the last node's end")
        values = await jobs["D"].get_children_values()
        await asyncio.gather(*(worker.close() for worker in workers))
    assert (ran[0], set(ran[1:3]), ran[3:]) == ("A", {"B", "C"}, ["D"])
    assert sorted(values.values()) == ["b", "c"]


async def test_a_failed_leaf_fails_all_that_depend_on_it(
    server: ValkeyServer, client: SharedClient, queue_name: str
) -> None:
    async def fail(job: Job[Any, Any]) -> None:
        raise RuntimeError("no")

    async with Worker[Any, Any](queue_name, fail, connection=server.url):
        jobs = await dag(diamond(queue_name), client=client)
        await eventually(lambda: jobs["D"].is_failed(), what="the last node's failure")
        assert all([await job.is_failed() for job in jobs.values()])


# -- shapes --------------------------------------------------------------------------------------------------


async def run_all(server: ValkeyServer, queue_name: str, until: Callable[[], Any]) -> list[str]:
    ran: list[str] = []

    async def run(job: Job[Any, Any]) -> None:
        ran.append(job.name)

    async with Worker[Any, Any](queue_name, run, connection=server.url):
        await eventually(until, what="the shape's end")
    return ran


async def test_a_chain_runs_its_last_job_first(
    server: ValkeyServer, client: SharedClient, queue_name: str
) -> None:
    jobs = [{"name": name} for name in ("last", "middle", "first")]
    root = await chain(queue_name, jobs, client=client)  # type: ignore[arg-type]
    assert (root.job.name, root.children[0].children[0].job.name) == ("last", "first")
    assert await run_all(server, queue_name, root.job.is_completed) == ["first", "middle", "last"]


async def test_a_chord_s_callback_runs_after_its_group(
    server: ValkeyServer, client: SharedClient, queue_name: str
) -> None:
    root = await chord(
        queue_name, [{"name": "a"}, {"name": "b"}], {"name": "callback", "data": 1}, client=client
    )
    assert await run_all(server, queue_name, root.job.is_completed) == ["a", "b", "callback"]


async def test_a_group_has_a_parent_of_its_own(
    server: ValkeyServer, client: SharedClient, queue_name: str
) -> None:
    root = await group(queue_name, [{"name": "a"}, {"name": "b"}], client=client)
    async with Queue[Any, Any](queue_name, client=client) as queue:
        parent = await queue.get_job(root.job.id)
        assert parent is not None
        assert (parent.name, parent.data, await parent.get_state()) == ("__group__", {}, "waiting-children")


@pytest.mark.parametrize(
    "add", [lambda: chain("q", []), lambda: group("q", []), lambda: chord("q", [], {"name": "c"})]
)
async def test_empty_shapes_are_refused(add: Callable[[], Any]) -> None:
    with pytest.raises(ValidationError, match="needs at least one job"):
        await add()
