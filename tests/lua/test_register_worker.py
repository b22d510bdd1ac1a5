"""register_worker: the entry that dashboards read, and the groups that blocking reads need."""

from __future__ import annotations

import json

from glidemq.commands.register_worker import RegisterWorkerCommand
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

INFO = '{"addr":"host","pid":7,"startedAt":1795313095314,"activeJobs":2}'


def register(call: Call, queue: RawQueue, consumer: str = "py-a", now: int = 1000) -> None:
    reply = call("register_worker", queue.name, consumer=consumer, info_json=INFO, ttl_ms=30_000, now=now)
    RegisterWorkerCommand("k", consumer=consumer, info_json=INFO.encode(), ttl_ms=1).parse_reply(reply)


def test_entry_is_written_with_its_ttl(call: Call, queue: RawQueue) -> None:
    register(call, queue)
    entry = queue.client.get(queue.key("w:py-a"))
    assert json.loads(entry) == {"addr": "host", "pid": 7, "startedAt": 1795313095314, "activeJobs": 2}
    assert 29_000 < queue.client.pttl(queue.key("w:py-a")) <= 30_000


def test_both_groups_exist_and_deliver_what_was_added_before(call: Call, queue: RawQueue) -> None:
    queue.add_waiting("1")
    queue.client.xadd(queue.key("x-py:bell"), {"r": "1"})
    for _ in range(2):
        register(call, queue)
    for stream in ("stream", "x-py:bell"):
        reply = queue.client.xreadgroup("workers", "py-a", {queue.key(stream): ">"})
        assert len(reply[0][1]) == 1


def test_groups_are_created_again_after_they_were_lost(call: Call, queue: RawQueue) -> None:
    register(call, queue)
    queue.client.delete(queue.key("stream"), queue.key("x-py:bell"))
    register(call, queue)
    assert queue.client.xinfo_groups(queue.key("stream"))[0]["name"] == b"workers"
    assert queue.client.xinfo_groups(queue.key("x-py:bell"))[0]["name"] == b"workers"


def test_refreshing_does_not_disturb_the_group_s_position(call: Call, queue: RawQueue) -> None:
    register(call, queue)
    queue.add_waiting("1")
    queue.deliver("py-a", 1)
    register(call, queue)
    assert queue.client.xreadgroup("workers", "py-a", {queue.key("stream"): ">"}) in ([], {}, None)
    assert list(queue.pending().values()) == ["py-a"]


def test_workers_that_stopped_refreshing_leave_the_set_of_live_ones(call: Call, queue: RawQueue) -> None:
    register(call, queue, "py-a", now=1000)
    register(call, queue, "py-b", now=20_000)
    assert queue.client.zrange(queue.key("x-py:workers"), 0, -1, withscores=True) == [
        (b"py-a", 31_000.0),
        (b"py-b", 50_000.0),
    ]
    register(call, queue, "py-b", now=31_001)
    assert queue.client.zrange(queue.key("x-py:workers"), 0, -1) == [b"py-b"]
