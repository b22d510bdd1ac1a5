"""Deduplicated adds leave what glide-mq for Node leaves."""

from __future__ import annotations

from typing import Any

from glidemq.options import Deduplication, to_wire
from tests.interop.allowances import AFTER_ADD
from tests.interop.differ import assert_same, read_keys
from tests.interop.loader import load_dump
from tests.interop.snapshot import load_case, rename_queues
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

BASE = 1795313094400


def add(call: Call, queue: RawQueue, at: int, number: int, **options: Any) -> str | None:
    wire = to_wire(options)
    assert wire.deduplication is not None
    row = [
        "d", f'{{"n":{number}}}', wire.json, wire.delay_ms, 0, 0, 0, 0, False, False, False,
        {"dedup": wire.deduplication.members()},
    ]  # fmt: skip
    status, ids, _ = call("enqueue", queue.name, jobs=[row], events=True, now=BASE + at)
    assert status == b"ok"
    return ids[0].decode() if ids[0] else None


def test_the_three_modes_write_what_node_writes(call: Call, queue: RawQueue) -> None:
    simple = {"deduplication": Deduplication("s1")}
    throttle = {"deduplication": Deduplication("t1", 5, "throttle")}
    debounce = {"deduplication": Deduplication("b1", 0.3, "debounce"), "delay": 0.3}
    ids = [
        add(call, queue, 15, 1, **simple),
        add(call, queue, 15, 2, **simple),
        add(call, queue, 16, 3, **throttle),
        add(call, queue, 16, 4, **throttle),
        add(call, queue, 17, 5, **debounce),
        add(call, queue, 17, 6, **debounce),
    ]
    assert ids == ["1", None, "2", None, "3", "4"]
    case = load_case("deduplication")
    expected = rename_queues(case.first, {case.queues[0]: queue.name}, "glide")
    assert_same(expected, read_keys(queue.client, [queue.name]), allowed=AFTER_ADD)


def test_adds_are_measured_by_the_entries_that_node_wrote(call: Call, queue: RawQueue) -> None:
    load_dump(queue.client, "deduplication", queue.name)
    assert add(call, queue, 100, 7, deduplication=Deduplication("s1")) is None
    assert add(call, queue, 100, 7, deduplication=Deduplication("t1", 5, "throttle")) is None
    assert add(call, queue, 16 + 5000, 7, deduplication=Deduplication("t1", 5, "throttle")) == "5"
    assert add(call, queue, 100, 8, deduplication=Deduplication("b1", 0.3, "debounce")) == "6"
    assert queue.field("4", "state") is None
    assert {event["event"] for event in queue.events() if event["jobId"] == "4"} == {"added", "removed"}
