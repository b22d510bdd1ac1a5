"""Jobs added by our own enqueue stand on the server as glide-mq for Node adds them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from glidemq.options import from_wire, to_wire
from tests.interop.allowances import AFTER_ADD
from tests.interop.differ import assert_same, read_keys
from tests.interop.snapshot import Case, KeyDump, Snapshot, load_case, rename_queues
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

ONE_QUEUE = [
    "plain",
    "retry_progress_log",
    "custom_id_ttl_timeout",
    "remove_on_complete",
    "delayed",
    "priority",
    "lifo",
    "gzip",
    "suspend_signal",
    "usage_token_limiter",
    "job_stream",
    "fallbacks_lock_duration",
    "ordering_concurrency_1",
    "ordering_concurrency_2",
    "group_rate_limit_token_bucket",
]


def recorded_jobs(case: Case, queue: str) -> list[dict[str, str]]:
    """The hashes of a queue's jobs, in the order of their adds."""
    start = f"glide:{{{queue}}}:job:"
    hashes = [dict(dump.fields) for key, dump in case.first.items() if key.startswith(start)]
    return sorted(hashes, key=lambda fields: (int(fields["timestamp"]), fields["id"]))


def extra_of(job: dict[str, str]) -> dict[str, Any] | bool:
    """The row's last member, as our own options make it of a recorded job's."""
    options = from_wire(json.loads(job["opts"]))
    if "ordering" not in options:
        return False
    wire = to_wire(options)
    assert wire.json.decode() == job["opts"]
    assert wire.group is not None
    return {"ordering": wire.group.members(), **({"cost": wire.cost} if wire.cost else {})}


def row_of(job: dict[str, str]) -> list[Any]:
    """The enqueue row that asks for a recorded job."""
    automatic = job["id"].isdigit()
    ttl_ms = int(job["expireAt"]) - int(job["timestamp"]) if "expireAt" in job else 0
    return [
        job["name"],
        job["data"],
        job["opts"],
        int(job["delay"]),
        int(job["priority"]),
        int(job.get("lifo", "0")),
        ttl_ms,
        int(job["maxAttempts"]),
        False if automatic else job["id"],
        job.get("parentId", False),
        job.get("parentQueue", False),
        extra_of(job),
    ]


def add_all(call: Call, queue: str, jobs: list[dict[str, str]]) -> None:
    for job in jobs:
        reply = call("enqueue", queue, jobs=[row_of(job)], events=True, now=int(job["timestamp"]))
        assert reply[:2] == [b"ok", [job["id"].encode()]]


@pytest.mark.parametrize("case_name", ONE_QUEUE)
def test_enqueue_writes_what_node_writes(call: Call, queue: RawQueue, case_name: str) -> None:
    case = load_case(case_name)
    [recorded_name] = case.queues
    add_all(call, queue.name, recorded_jobs(case, recorded_name))
    expected = rename_queues(case.first, {recorded_name: queue.name}, "glide")
    assert_same(expected, read_keys(queue.client, [queue.name]), allowed=AFTER_ADD)


def test_adding_a_custom_id_again_writes_nothing(call: Call, queue: RawQueue) -> None:
    case = load_case("custom_id_ttl_timeout")
    [recorded_name] = case.queues
    jobs = recorded_jobs(case, recorded_name)
    add_all(call, queue.name, jobs)
    assert call("enqueue", queue.name, jobs=[row_of(jobs[0])], events=True, now=1)[:2] == [b"ok", [False]]
    expected = rename_queues(case.first, {recorded_name: queue.name}, "glide")
    assert_same(expected, read_keys(queue.client, [queue.name]), allowed=AFTER_ADD)


def of_queue(snapshot: Snapshot, queue: str) -> dict[str, KeyDump]:
    return {key: dump for key, dump in snapshot.items() if key.startswith(f"glide:{{{queue}}}:")}


def test_children_of_a_parent_in_another_queue_refer_to_it(call: Call, queue: RawQueue) -> None:
    case = load_case("flow")
    add_all(call, queue.name, recorded_jobs(case, "fc"))
    expected = rename_queues(of_queue(case.first, "fc"), {"fc": queue.name}, "glide")
    assert_same(expected, read_keys(queue.client, [queue.name]), allowed=AFTER_ADD)


def test_pause_writes_what_node_writes(call: Call, queue: RawQueue) -> None:
    limits = {"globalConcurrency": "3", "rateLimitMax": "5", "rateLimitDuration": "1000"}
    queue.client.hset(queue.key("meta"), mapping=limits)
    call("pause", queue.name)
    case = load_case("queue_limits_pause")
    expected = rename_queues(case.first, {case.queues[0]: queue.name}, "glide")
    assert_same(expected, read_keys(queue.client, [queue.name]))
