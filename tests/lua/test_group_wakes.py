"""Groups that wait for a time: who looks at them then, and what the callers are told."""

from __future__ import annotations

import pytest

from tests.lua.grouped_queue import GroupedQueue


def exhaust(grouped: GroupedQueue, *, key: str = "k", window_ms: int = 1000) -> list[str]:
    """Three jobs of a group whose window lets one go; the others are parked. Returns the ids."""
    ids = grouped.join(3, key=key, concurrency=9, rate=(1, window_ms))
    while set(grouped.parked(key)) != set(ids[1:]):
        grouped.step(9)
    return ids


def test_promote_due_makes_a_due_group_ready_and_tells_the_next_time(grouped: GroupedQueue) -> None:
    ids = exhaust(grouped)
    assert grouped.promote_due() == (0, 0, grouped.now + 1000)
    grouped.pass_time(1000)
    # Only one may start: the second has to wait for the window that its start will open.
    assert grouped.promote_due() == (0, 0, -1)
    assert grouped.state(ids[1]) == "waiting"
    assert (grouped.parked(), grouped.wakes()) == (ids[2:], {})
    assert grouped.step(2).ids == [ids[1]]
    assert grouped.wakes() == {"k": grouped.now + 1000}


@pytest.mark.parametrize("delay", [400, 1600])
def test_next_due_is_the_earlier_of_jobs_and_groups(grouped: GroupedQueue, delay: int) -> None:
    exhaust(grouped)
    grouped.add(delay=delay)
    expected = grouped.now + min(delay, 1000)
    assert grouped.step(1).next_due == expected
    assert grouped.promote_due()[2] == expected
    grouped.add()
    job = grouped.start_one()
    row = [*job.fence, job.entry_id, "boom", 0, 0, False]
    assert grouped.call("fail", rows=[row])[3] == expected


def test_step_that_only_reports_looks_at_due_groups_for_the_others(grouped: GroupedQueue) -> None:
    ids = exhaust(grouped)
    grouped.pass_time(1000)
    assert grouped.step(0).ids == []
    assert grouped.entries()[-1] == ids[1]
    assert grouped.read_as_node("c1") != []


def test_expired_job_at_the_head_of_a_due_group_makes_way(grouped: GroupedQueue) -> None:
    ids = exhaust(grouped)
    grouped.client.hset(grouped.key(f"job:{ids[1]}"), "expireAt", grouped.now + 500)
    grouped.pass_time(1000)
    stepped = grouped.step(9)
    assert stepped.ids == [ids[2]]
    assert grouped.field(ids[1], "failedReason") == "expired"


def test_head_that_vanished_does_not_lose_the_wake_up_of_the_others(grouped: GroupedQueue) -> None:
    ids = exhaust(grouped)
    grouped.client.delete(grouped.key(f"job:{ids[1]}"))
    grouped.client.hset(grouped.key("group:k"), "skip:2", 1)
    grouped.pass_time(1000)
    assert grouped.step(9).ids == [ids[2]]


def test_time_of_a_group_with_nothing_parked_passes_without_a_trace(grouped: GroupedQueue) -> None:
    grouped.client.zadd(grouped.key("ratelimited"), {"k": grouped.now, "unknown": grouped.now})
    assert grouped.step(1).next_due == -1
    assert grouped.suffixes() == ["stream"]


def test_removed_head_of_a_waiting_group_takes_its_wait_with_it(grouped: GroupedQueue) -> None:
    settings = {"concurrency": 9, "bucket": (10_000, 1_000)}
    grouped.join(cost=9_000, **settings)
    (dear,) = grouped.join(cost=10_000, **settings)
    (cheap,) = grouped.join(cost=1_000, **settings)
    grouped.step(9)
    assert grouped.wakes() == {"k": grouped.now + 9_000}
    grouped.call("remove", id=dear)
    # The token that is left is enough for the cheap one, which would else wait for the dear one's nine seconds.
    assert grouped.step(9).ids == [cheap]


def test_removed_last_job_of_a_waiting_group_leaves_no_wake_up(grouped: GroupedQueue) -> None:
    ids = exhaust(grouped)
    for job_id in ids[1:]:
        grouped.call("remove", id=job_id)
    assert grouped.wakes() == {}
    assert grouped.step(9).next_due == -1


def test_wake_up_by_node_is_taken_as_it_comes(grouped: GroupedQueue) -> None:
    # Node pops a job, sets its state and appends an entry; slots and sequences are counted by whoever starts it.
    first, second = grouped.join(2)
    job = grouped.step(2).started[0]
    grouped.client.hset(grouped.key("group:k"), "active", 0)
    grouped.client.zrem(grouped.key("groupq:k"), second)
    grouped.client.hset(grouped.key(f"job:{second}"), "state", "waiting")
    grouped.client.xadd(grouped.key("stream"), {"jobId": second, "name": "n"})
    assert job.id == first
    assert grouped.step(2).ids == [second]
    assert (grouped.active(), grouped.next_seq()) == (1, 3)


def test_more_parked_jobs_than_one_call_looks_at_go_in_several(grouped: GroupedQueue) -> None:
    ids = grouped.join(700, concurrency=1000, rate=(1, 1000))
    while len(grouped.parked()) < 699:
        grouped.step(9)
    grouped.client.hset(grouped.key("group:k"), "rateMax", 1000)
    grouped.pass_time(1000)
    order: list[str] = []
    calls = 0
    while len(order) < 699:
        stepped = grouped.step(1000)
        calls += 1
        assert stepped.ids or stepped.more or 0 <= stepped.next_due <= grouped.now
        order += stepped.ids
    assert order == ids[1:]
    assert 4 <= calls <= 12
