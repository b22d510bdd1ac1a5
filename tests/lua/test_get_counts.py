"""get_counts: Node's arithmetic for its five states, and the states that Node does not count."""

from __future__ import annotations

from glidemq.commands.get_counts import GetCountsCommand
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

SHIFT = 1 << 42


def counts(call: Call, queue: RawQueue) -> dict[str, int]:
    return dict(GetCountsCommand(queue.key("meta")).parse_reply(call("get_counts", queue.name)))


def test_an_empty_queue_counts_zero_in_every_state(call: Call, queue: RawQueue) -> None:
    assert counts(call, queue) == dict.fromkeys(
        ("waiting", "active", "delayed", "prioritized", "completed", "failed", "suspended"), 0
    )
    assert queue.suffixes() == []


def test_waiting_is_the_stream_without_pending_plus_both_lists(call: Call, queue: RawQueue) -> None:
    queue.create_group()
    queue.add_waiting("1", "2", "3", "4", "5")
    queue.deliver("worker-1", 2)
    queue.add_listed("lifo", "l")
    queue.add_listed("priority", "p", "q")
    queue.client.set(queue.key("list-active"), "3")
    found = counts(call, queue)
    assert (found["waiting"], found["active"]) == (3 + 1 + 2, 2 + 3)


def test_jobs_given_back_wait_although_they_are_pending(call: Call, queue: RawQueue) -> None:
    queue.create_group()
    entries = queue.add_waiting("1", "2", "3")
    queue.deliver("w", 2)
    queue.give_back(entries[0], "1")
    found = counts(call, queue)
    assert (found["waiting"], found["active"]) == (2, 1)


def test_a_negative_list_counter_counts_as_zero(call: Call, queue: RawQueue) -> None:
    queue.client.set(queue.key("list-active"), "-2")
    assert counts(call, queue)["active"] == 0


def test_delayed_includes_the_prioritized_jobs_that_are_also_shown_alone(call: Call, queue: RawQueue) -> None:
    scores = {"d": 5000, "p1": SHIFT, "p1d": SHIFT + 5000, "p9": 9 * SHIFT, "p2048": 2048 * SHIFT}
    for job_id, score in scores.items():
        queue.add_scored("scheduled", job_id, score)
    found = counts(call, queue)
    assert (found["delayed"], found["prioritized"]) == (5, 3)


def test_beyond_three_hundred_priorities_dated_jobs_are_counted_as_prioritized(
    call: Call, queue: RawQueue
) -> None:
    dated = {"d1": SHIFT + 5000, "d310": 310 * SHIFT + 5000}
    queue.client.zadd(queue.key("scheduled"), {f"p{n}": n * SHIFT for n in range(1, 321)} | dated)
    assert counts(call, queue)["prioritized"] == 321


def test_finished_and_suspended_jobs_are_counted(call: Call, queue: RawQueue) -> None:
    for zset, number in (("completed", 1), ("failed", 2), ("suspended", 3)):
        for index in range(number):
            queue.add_scored(zset, f"{zset}{index}", 1)
    found = counts(call, queue)
    assert (found["completed"], found["failed"], found["suspended"]) == (1, 2, 3)
