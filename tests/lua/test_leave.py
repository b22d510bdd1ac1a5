"""leave: what a worker takes with it, and what becomes of the jobs that were given back."""

from __future__ import annotations

import pytest

from glidemq.commands.leave import Departure, LeaveCommand
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

INFO = '{"addr":"host","pid":7,"startedAt":1,"activeJobs":0}'


def register(call: Call, queue: RawQueue, *consumers: str) -> None:
    for consumer in consumers:
        call("register_worker", queue.name, consumer=consumer, info_json=INFO, ttl_ms=30_000, now=1000)


def leave(call: Call, queue: RawQueue, consumer: str = "py-a", now: int = 2000) -> Departure:
    reply = call("leave", queue.name, consumer=consumer, cell=consumer, now=now)
    return LeaveCommand("k", consumer=consumer, cell=consumer).parse_reply(reply)


def start_node_worker(queue: RawQueue) -> None:
    """A Node worker: a consumer of the group and a registry entry."""
    queue.client.xgroup_createconsumer(queue.key("stream"), "workers", "worker-1")
    queue.client.set(queue.key("w:worker-1"), INFO, px=30_000)


def give_back_three(queue: RawQueue) -> None:
    entries = queue.add_waiting("1", "2", "3", "4")
    queue.deliver("py-a", 3)
    for entry_id, job_id in zip(entries, "123", strict=False):
        queue.give_back(entry_id, job_id)


def consumers(queue: RawQueue) -> set[str]:
    return {row["name"].decode() for row in queue.client.xinfo_consumers(queue.key("stream"), "workers")}


def test_registry_entry_and_consumer_name_go(call: Call, queue: RawQueue) -> None:
    register(call, queue, "py-a", "py-b")
    queue.add_waiting("1")
    queue.deliver("py-a", 1)
    queue.client.xack(queue.key("stream"), "workers", *queue.pending())
    queue.client.zadd(queue.key("x-py:cells"), {"py-a": 0, "py-b": 0})
    queue.client.xgroup_createconsumer(queue.key("stream"), "workers", "py-b")

    assert leave(call, queue) == Departure(0, False)

    assert "w:py-a" not in queue.suffixes() and "w:py-b" in queue.suffixes()
    assert consumers(queue) == {"py-b"}
    assert queue.client.zrange(queue.key("x-py:cells"), 0, -1) == [b"py-b"]


def test_consumer_with_pending_entries_keeps_its_name(call: Call, queue: RawQueue) -> None:
    register(call, queue, "py-a")
    queue.add_waiting("1")
    queue.deliver("py-a", 1)
    leave(call, queue)
    assert consumers(queue) == {"py-a"}
    assert list(queue.pending().values()) == ["py-a"]


def test_cell_with_list_jobs_in_hand_stays_known(call: Call, queue: RawQueue) -> None:
    register(call, queue, "py-a")
    queue.client.zadd(queue.key("x-py:cells"), {"py-a": 0})
    queue.client.zadd(queue.key("x-py:active:py-a"), {"1": 5})
    leave(call, queue)
    assert queue.client.zrange(queue.key("x-py:cells"), 0, -1) == [b"py-a"]


@pytest.mark.parametrize("others", [("py-b",), ()])
def test_jobs_given_back_stay_at_the_head_while_no_node_worker_lives(
    call: Call, queue: RawQueue, others: tuple[str, ...]
) -> None:
    register(call, queue, "py-a", *others)
    # A Node worker that died: its consumer name is left for ever, its registry entry has expired.
    queue.client.xgroup_createconsumer(queue.key("stream"), "workers", "worker-0")
    give_back_three(queue)
    assert leave(call, queue) == Departure(0, False)
    assert list(queue.pending().values()) == ["py-returned"] * 3
    assert queue.entries() == ["1", "2", "3", "4"]


def test_jobs_given_back_stay_at_the_head_while_another_worker_of_ours_lives(
    call: Call, queue: RawQueue
) -> None:
    register(call, queue, "py-a", "py-b")
    start_node_worker(queue)
    give_back_three(queue)
    assert leave(call, queue) == Departure(0, False)
    assert list(queue.pending().values()) == ["py-returned"] * 3


def test_last_of_ours_moves_them_to_the_tail_for_a_living_node_worker(call: Call, queue: RawQueue) -> None:
    register(call, queue, "py-a")
    start_node_worker(queue)
    give_back_three(queue)
    queue.client.delete(queue.key("job:2"))
    assert leave(call, queue) == Departure(2, False)
    assert queue.entries() == ["4", "1", "3"]
    assert queue.pending() == {}
    reply = queue.client.xreadgroup("workers", "worker-1", {queue.key("stream"): ">"}, count=10)
    assert [fields for _, fields in reply[0][1]] == [
        {b"jobId": job_id, b"name": b"n"} for job_id in (b"4", b"1", b"3")
    ]


def test_a_worker_of_ours_that_expired_does_not_count_as_another(call: Call, queue: RawQueue) -> None:
    register(call, queue, "py-a", "py-b")
    start_node_worker(queue)
    give_back_three(queue)
    # py-b was last seen at 1,000 for 30,000 ms.
    queue.client.delete(queue.key("w:py-b"))
    assert leave(call, queue, now=31_001).moved == 3


def test_many_jobs_are_moved_in_bounded_calls(call: Call, queue: RawQueue) -> None:
    register(call, queue, "py-a")
    start_node_worker(queue)
    ids = [str(number) for number in range(700)]
    entries = queue.add_waiting(*ids)
    queue.deliver("py-a", 700)
    queue.client.xclaim(queue.key("stream"), "workers", "py-returned", 0, entries, justid=True)
    assert leave(call, queue) == Departure(500, True)
    assert leave(call, queue) == Departure(200, False)
    assert queue.entries() == ids
    assert queue.pending() == {}


def test_an_unanswered_ring_is_rung_again_for_the_others(call: Call, queue: RawQueue) -> None:
    register(call, queue, "py-a", "py-b")
    bell = queue.key("x-py:bell")
    queue.client.xadd(bell, {"r": "1"})
    queue.client.xreadgroup("workers", "py-a", {bell: ">"})
    leave(call, queue)
    reply = queue.client.xreadgroup("workers", "py-b", {bell: ">"})
    assert len(reply[0][1]) == 1
    assert [row["name"] for row in queue.client.xinfo_consumers(bell, "workers")] == [b"py-b"]


def test_leaving_twice_and_leaving_an_unknown_queue_change_nothing(call: Call, queue: RawQueue) -> None:
    assert leave(call, queue) == Departure(0, False)
    assert queue.suffixes() == []
    register(call, queue, "py-a")
    leave(call, queue)
    before = queue.suffixes()
    assert leave(call, queue) == Departure(0, False)
    assert queue.suffixes() == before
