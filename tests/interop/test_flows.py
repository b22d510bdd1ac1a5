"""Flows: ours stand on the server as Node's do, and Node's, processed by our workers, end as on Node."""

from __future__ import annotations

from typing import Any

import valkey

from glidemq import FlowProducer, Job, Worker
from tests.interop.allowances import AFTER_ADD, AFTER_COMPLETION
from tests.interop.differ import Allowed, assert_same, read_keys
from tests.interop.loader import load_dump
from tests.interop.snapshot import Snapshot, load_case, rename_queues
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

SIBLINGS = Allowed("events", "children that end in one call tell their parents in the order of a set")


def assert_queues_same(raw: Any, expected: Snapshot, *allowed: Allowed) -> None:
    """Each queue by itself, at whatever times."""
    for queue in {key.partition("{")[2].partition("}")[0] for key in expected}:
        for reply in raw.scan_iter(match=f"glide:{{{queue}}}:x-py:add:*"):
            raw.delete(reply)  # they are no text, and expire
        wanted = {key: dump for key, dump in expected.items() if f"{{{queue}}}" in key}
        assert_same(wanted, read_keys(raw, [queue]), times="ignored", allowed=allowed)


async def test_a_tree_over_two_queues_is_written_as_node_writes_it(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    names = {"fp": queue_name, "fc": f"{queue_name}-c"}
    async with FlowProducer(connection=server.url) as flows:
        await flows.add(
            {
                "name": "parent",
                "queue_name": names["fp"],
                "data": {"p": 1},
                "children": [
                    {"name": "c", "queue_name": names["fc"], "data": {"c": number}} for number in (1, 2)
                ],
            }
        )
    expected = rename_queues(load_case("flow").first, names, "glide")
    assert_queues_same(raw, expected, *AFTER_ADD)


async def test_a_graph_is_written_as_node_writes_it(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    async with FlowProducer(connection=server.url) as flows:
        await flows.add_dag(
            [
                {"name": "a", "queue_name": queue_name},
                {"name": "b", "queue_name": queue_name, "deps": ["a"]},
                {"name": "c", "queue_name": queue_name, "deps": ["a"]},
                {"name": "d", "queue_name": queue_name, "deps": ["b", "c"]},
            ]
        )
    expected = rename_queues(load_case("dag").first, {"dag": queue_name}, "glide")
    assert_queues_same(raw, expected, *AFTER_ADD)


async def test_a_recorded_tree_over_two_queues_ends_as_on_node(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    loaded = load_dump(raw, "flow", queue_name)
    parents, children = loaded.queues["fp"], loaded.queues["fc"]

    async def child(job: Job[Any, Any]) -> dict[str, Any]:
        return {"v": job.data["c"]}

    async def parent(job: Job[Any, Any]) -> dict[str, Any]:
        values = await job.get_children_values()
        return {"cv": dict(sorted(values.items()))}

    async with (
        Worker[Any, Any](children, child, connection=server.url),
        Worker[Any, Any](parents, parent, connection=server.url),
    ):
        await eventually(lambda: raw.zcard(f"glide:{{{parents}}}:completed") == 1, what="the parent's end")
        await eventually(lambda: not raw.exists(f"glide:{{{children}}}:x-py:outbox"), what="an empty outbox")
    assert_queues_same(raw, loaded.expected("after_completion"), *AFTER_COMPLETION)


async def test_a_recorded_graph_ends_as_on_node(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    loaded = load_dump(raw, "dag", queue_name)

    async def name_of(job: Job[Any, Any]) -> str:
        return job.name

    async with Worker[Any, Any](queue_name, name_of, connection=server.url):
        await eventually(lambda: raw.zcard(f"glide:{{{queue_name}}}:completed") == 4, what="all jobs' ends")
    assert_queues_same(raw, loaded.expected("after_completion"), *AFTER_COMPLETION, SIBLINGS)


async def test_a_parent_that_node_has_woken_runs_here(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    loaded = load_dump(raw, "flow", queue_name, moment="children_done")
    parents = loaded.queues["fp"]
    seen: list[dict[str, Any]] = []

    async def parent(job: Job[Any, Any]) -> None:
        seen.append(await job.get_children_values())

    async with Worker[Any, Any](parents, parent, connection=server.url):
        await eventually(lambda: bool(seen), what="the parent's run")
    assert seen == [{f"glide:{{{loaded.queues['fc']}}}:{n}": {"v": n} for n in (1, 2)}]
