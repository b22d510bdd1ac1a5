"""The recordings of glide-mq: what the recorder reads is what the loader writes and the differ sees."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.differ import Allowed, assert_same, differences, read_keys
from tests.interop.loader import load_dump
from tests.interop.recorder import parse_recording
from tests.interop.snapshot import KeyDump, case_names, load_case

SAMPLE = """\
dumps of glide-mq
====
== 1. plain   (queue name a)
====
commands for the add(s): {"hset":[1,13]}

--- after add
glide:{a}:id  [string] pttl=100
    "1"
glide:{a}:job:1  [hash]
    name = "x = \\"y\\""
glide:{a}:log:1  [list]
    "same"
    "same"

(failed event: job 1 boom)
--- while suspended (about 250 ms later)
glide:{a}:stream  [stream]
glide:{a}:stream  [stream]
    5-0 ["jobId","1","name",""]
    5-0 ["jobId","1","name",""]
    group ["name","workers","consumers",1,"pending",1,"last-delivered-id","5-0","entries-read",1,"lag",null]
    consumer ["name","worker-1","pending",1,"idle",299,"inactive",299]
    pending ["5-0","worker-1",299,1]
glide:{a}:scheduled  [zset]
    "2" score 10591406110428
"""


def test_recorder_reads_every_kind_of_line() -> None:
    case = parse_recording(SAMPLE)["plain"]

    assert (case.title, case.queues, list(case.snapshots)) == (
        "1. plain",
        ("a",),
        ["after_add", "while_suspended"],
    )
    first = case.snapshots["after_add"]
    assert first["glide:{a}:id"] == KeyDump("string", text="1", ttl_ms=100)
    assert first["glide:{a}:job:1"].fields == {"name": 'x = "y"'}
    assert first["glide:{a}:log:1"].items == ("same", "same")
    second = case.snapshots["while_suspended"]
    assert second["glide:{a}:scheduled"].scores == {"2": 10591406110428}
    stream = second["glide:{a}:stream"]
    assert stream.entries == (("5-0", {"jobId": "1", "name": ""}),)
    assert stream.groups[0].pending == (("5-0", "worker-1", 1),)


def test_recorder_refuses_a_member_that_it_does_not_understand() -> None:
    with pytest.raises(ValueError, match="not a zset member"):
        parse_recording("== 1. plain\n--- after add\nglide:{a}:failed  [zset]\n    mystery\n")


@pytest.mark.parametrize("name", case_names())
def test_loading_a_recording_restores_every_moment_of_it(raw: Any, queue_name: str, name: str) -> None:
    for moment in load_case(name).snapshots:
        loaded = load_dump(raw, name, f"{queue_name}-{moment}", moment=moment)
        found = read_keys(raw, loaded.queues.values())
        assert_same(loaded.expected(moment), found)
        assert differences(loaded.expected(moment), found, times="ignored") == []


def test_differ_sees_a_changed_field_a_missing_key_a_foreign_event_and_a_later_time(
    raw: Any, queue_name: str
) -> None:
    loaded = load_dump(raw, "plain", queue_name, moment="after_completion")
    raw.hset(loaded.key("job:1"), mapping={"state": "failed", "finishedOn": "1"})
    raw.delete(loaded.key("id"))
    raw.xadd(loaded.key("events"), {"event": "active", "jobId": "1"})
    raw.zadd(loaded.key("completed"), {"1": 77})
    found = read_keys(raw, [queue_name])

    exact = [d.path for d in differences(loaded.expected("after_completion"), found)]
    assert exact == ["completed/1", "events/entries", "id", "id/text", "job:1/finishedOn", "job:1/state"]
    loose = differences(
        loaded.expected("after_completion"),
        found,
        times="ignored",
        allowed=[Allowed("id*", "removed above"), Allowed("events/*", "added above")],
    )
    assert [str(d) for d in loose] == ["job:1/state: recorded 'completed', found 'failed'"]


def test_references_to_queues_follow_the_loaded_names(raw: Any, queue_name: str) -> None:
    flow = load_dump(raw, "flow", queue_name)
    parent_queue = flow.queues["fp"]
    assert raw.hget(flow.key("job:1", "fc"), "parentQueue") == parent_queue.encode()
    members = set(raw.smembers(flow.key("deps:1", "fp")))
    assert members == {f"glide:{{{flow.queues['fc']}}}:{n}".encode() for n in (1, 2)}

    dead = load_dump(raw, "dead_letter_queue", queue_name, moment="after_completion")
    assert raw.hget(dead.key("meta", "q13"), "deadLetterQueueName") == dead.queues["q13-dlq"].encode()
    envelope = raw.hget(dead.key("job:1", "q13-dlq"), "data")
    assert envelope is not None and f'"originalQueue":"{dead.queues["q13"]}"'.encode() in envelope
