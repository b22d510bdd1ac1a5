"""get_workers: whoever has announced itself and is alive, of this library and of Node."""

from __future__ import annotations

import json
from typing import Any

from glidemq.commands.get_workers import GetWorkersCommand, WorkerEntry
from tests.interop.loader import load_dump
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.raw_queue import RawQueue

MEMBERS = {"addr": "host", "pid": 7, "activeJobs": 2}


def workers(driven: DrivenQueue) -> list[WorkerEntry]:
    return list(execute(driven, GetWorkersCommand(driven.key("meta"))))


def register(driven: DrivenQueue, consumer: str, started_at: int, **members: Any) -> None:
    info = json.dumps({**MEMBERS, "startedAt": started_at, **members})
    driven.call("register_worker", consumer=consumer, info_json=info, ttl_ms=30_000)


def register_as_node(driven: DrivenQueue, consumer: str, text: str) -> None:
    """What a Node worker leaves: a consumer of the group, and its registry entry."""
    driven.client.xreadgroup("workers", consumer, {driven.key("stream"): ">"}, count=1)
    driven.client.set(driven.key(f"w:{consumer}"), text, px=30_000)


def test_workers_of_this_library_come_in_the_order_of_their_start(driven: DrivenQueue) -> None:
    register(driven, "py-b", driven.now - 500)
    register(driven, "py-a", driven.now - 2_000, activeJobs=0)
    assert workers(driven) == [
        WorkerEntry("py-a", "host", 7, driven.now - 2_000, 2_000, 0),
        WorkerEntry("py-b", "host", 7, driven.now - 500, 500, 2),
    ]


def test_node_worker_that_asked_for_jobs_is_found_without_a_scan(driven: DrivenQueue) -> None:
    register(driven, "py-a", driven.now)
    node = {"addr": "vm", "pid": 18411, "startedAt": driven.now - 10, "activeJobs": 1}
    register_as_node(driven, "worker-1795312315796-dbfe0f0b", json.dumps(node))
    assert [worker.id for worker in workers(driven)] == ["worker-1795312315796-dbfe0f0b", "py-a"]
    assert workers(driven)[0].active_jobs == 1


def test_subscribers_of_a_broadcast_are_found(driven: DrivenQueue) -> None:
    driven.client.xgroup_create(driven.key("stream"), "news", id="0", mkstream=True)
    driven.client.xreadgroup("news", "worker-1-a", {driven.key("stream"): ">"}, count=1)
    driven.client.set(driven.key("w:worker-1-a"), json.dumps({**MEMBERS, "startedAt": 1}))
    assert [worker.id for worker in workers(driven)] == ["worker-1-a"]


def test_workers_without_a_living_entry_are_left_out(driven: DrivenQueue) -> None:
    register(driven, "py-gone", driven.now)
    register(driven, "py-here", driven.now)
    driven.client.delete(driven.key("w:py-gone"))
    driven.client.xreadgroup("workers", "worker-dead", {driven.key("stream"): ">"}, count=1)
    assert [worker.id for worker in workers(driven)] == ["py-here"]
    driven.call("leave", consumer="py-here", cell="py-here")
    assert workers(driven) == []


def test_entries_that_node_would_drop_are_left_out(driven: DrivenQueue) -> None:
    register(driven, "py-a", driven.now)
    broken = [
        "",
        "nonsense",
        "[1]",
        '{"addr":1,"pid":1,"startedAt":1}',
        '{"addr":"a","pid":"1","startedAt":1}',
    ]
    for number, text in enumerate([*broken, '{"addr":"a","pid":1}']):
        register_as_node(driven, f"worker-{number}", text)
    assert [worker.id for worker in workers(driven)] == ["py-a"]


def test_among_many_dead_consumers_of_node_the_latest_are_looked_at(driven: DrivenQueue) -> None:
    driven.create_group()
    pipeline = driven.client.pipeline(transaction=False)
    for number in range(2_500):
        pipeline.xgroup_createconsumer(driven.key("stream"), "workers", f"worker-{10_000 + number}-x")
    pipeline.execute()
    driven.client.set(driven.key("w:worker-12499-x"), json.dumps({**MEMBERS, "startedAt": 5}))
    driven.client.set(driven.key("w:worker-10000-x"), json.dumps({**MEMBERS, "startedAt": 5}))
    assert [worker.id for worker in workers(driven)] == ["worker-12499-x"]


def test_recorded_worker_of_node_is_listed(call: Call, queue: RawQueue) -> None:
    load_dump(queue.client, "revoked", queue.name, moment="while_job_1_is_active")
    reply = call("get_workers", queue.name, now=1795313098868)
    [worker] = GetWorkersCommand("k").parse_reply(reply)
    assert worker == WorkerEntry("worker-1795313098568-57aba38c", "vm", 26808, 1795313098568, 300, 0)


def test_queue_that_nobody_serves_has_no_workers(driven: DrivenQueue) -> None:
    assert workers(driven) == []
    assert driven.suffixes() == []
