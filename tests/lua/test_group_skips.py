"""Jobs that never start: their group steps over them, whatever became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.lua.grouped_queue import GroupedQueue

SEVERAL_CHUNKS = 900


def revoke(grouped: GroupedQueue, *job_ids: str) -> None:
    for job_id in job_ids:
        assert grouped.call("revoke", id=job_id)[0] == b"revoked"


def remove(grouped: GroupedQueue, *job_ids: str) -> None:
    for job_id in job_ids:
        assert grouped.call("remove", id=job_id) == [b"ok", False]


def expire(grouped: GroupedQueue, *job_ids: str) -> None:
    for job_id in job_ids:
        grouped.client.hset(grouped.key(f"job:{job_id}"), "expireAt", grouped.now - 1)


def spoil(grouped: GroupedQueue, *job_ids: str) -> None:
    for job_id in job_ids:
        grouped.client.hset(grouped.key(f"job:{job_id}"), "opts", "no JSON")


def flag_as_revoked(grouped: GroupedQueue, *job_ids: str) -> None:
    for job_id in job_ids:
        grouped.client.hset(grouped.key(f"job:{job_id}"), "revoked", "1")


KILLS = [revoke, remove, expire, spoil, flag_as_revoked]
PLACES: dict[str, dict[str, Any]] = {"stream": {}, "delayed": {"delay": 100}, "prioritized": {"priority": 3}}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kill", KILLS)
def test_head_that_never_starts_does_not_hold_its_group(
    grouped: GroupedQueue, kill: Callable[..., None], place: str
) -> None:
    (head,) = grouped.join(own=PLACES[place])
    others = grouped.join(2)
    kill(grouped, head)
    grouped.pass_time(100)
    assert grouped.work_off() == others
    assert (grouped.active(), grouped.next_seq()) == (0, 4)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kill", KILLS)
def test_parked_successor_of_a_killed_head_goes_on(
    grouped: GroupedQueue, kill: Callable[..., None], place: str
) -> None:
    (head,) = grouped.join(own={"delay": 100, "priority": PLACES[place].get("priority", 0)})
    (other,) = grouped.join()
    assert grouped.step(4).ids == []
    assert grouped.parked() == [other]
    kill(grouped, head)
    # A kill that somebody asks for wakes the next one at once, one that is found out does so then.
    if kill in (revoke, remove):
        assert (grouped.parked(), grouped.state(other)) == ([], "waiting")
    grouped.pass_time(100)
    assert grouped.step(4).ids == [other]
    assert grouped.next_seq() == 3


@pytest.mark.parametrize("kill", [revoke, remove, expire])
def test_parked_job_that_is_killed_is_stepped_over(grouped: GroupedQueue, kill: Callable[..., None]) -> None:
    _, second, third = grouped.join(3)
    job = grouped.step(4).started[0]
    kill(grouped, second)
    assert grouped.step(4, complete=[grouped.completion(job)]).ids == [third]
    assert grouped.parked() == []
    assert not any(name.startswith("skip:") for name in grouped.group())


@pytest.mark.parametrize("kill", [revoke, remove])
def test_killed_job_in_the_middle_is_marked_until_its_turn(
    grouped: GroupedQueue, kill: Callable[..., None]
) -> None:
    ids = grouped.join(5)
    job = grouped.step(4).started[0]
    kill(grouped, ids[2], ids[3])
    assert (grouped.group()["skip:3"], grouped.group()["skip:4"]) == (1, 1)
    (job,) = grouped.step(4, complete=[grouped.completion(job)]).started
    assert job.id == ids[1]
    assert grouped.step(4, complete=[grouped.completion(job)]).ids == [ids[4]]
    assert grouped.group() == {"maxConcurrency": 1, "nextSeq": 6, "active": 1}


def test_last_job_that_is_killed_leaves_the_way_free_for_later_ones(grouped: GroupedQueue) -> None:
    first, second = grouped.join(2)
    revoke(grouped, second)
    assert grouped.work_off() == [first]
    (third,) = grouped.join()
    assert grouped.work_off() == [third]


def test_long_gap_is_stepped_over_in_bounded_calls(grouped: GroupedQueue) -> None:
    ids = grouped.join(SEVERAL_CHUNKS)
    (last,) = grouped.join()
    job = grouped.start_one()
    remove(grouped, *ids[1:])
    (started,) = grouped.step(1, complete=[grouped.completion(job)]).started
    assert started.id == last
    assert grouped.group() == {"maxConcurrency": 1, "nextSeq": SEVERAL_CHUNKS + 2, "active": 1}


def test_gap_beyond_the_limit_of_one_call_is_left_to_the_next_ones(grouped: GroupedQueue) -> None:
    grouped.join(1)
    job = grouped.start_one()
    gap = 9_000
    markers = {f"skip:{seq}": 1 for seq in range(2, gap + 2)}
    grouped.client.hset(grouped.key("group:k"), mapping=markers)
    grouped.client.hset(grouped.key("ordering"), "k", gap + 1)
    (last,) = grouped.join()
    assert grouped.step(1).ids == []
    stepped = grouped.step(1, complete=[grouped.completion(job)])
    calls = 1
    while not stepped.ids:
        # Nobody waits: the library says that there is more to do at once.
        assert stepped.more or 0 <= stepped.next_due <= grouped.now
        stepped = grouped.step(1)
        calls += 1
    assert stepped.ids == [last]
    assert calls <= 6
    assert not any(name.startswith("skip:") for name in grouped.group())


def test_many_expired_jobs_of_a_group_end_without_a_start(grouped: GroupedQueue) -> None:
    (first,) = grouped.join()
    ids = grouped.join(500, own={"ttl": 1_000})
    (last,) = grouped.join()
    job = grouped.start_one()
    assert job.id == first
    for _ in range(8):
        grouped.step(4)
    grouped.pass_time(2_000)
    stepped = grouped.step(1, complete=[grouped.completion(job)])
    while not stepped.ids:
        assert stepped.more or 0 <= stepped.next_due <= grouped.now
        stepped = grouped.step(1)
    assert stepped.ids == [last]
    assert {grouped.field(job_id, "failedReason") for job_id in ids} == {"expired"}
    assert grouped.group() == {"maxConcurrency": 1, "nextSeq": 503, "active": 1}


@pytest.mark.parametrize("drained", [1, 3])
def test_drained_jobs_of_a_group_are_stepped_over(grouped: GroupedQueue, drained: int) -> None:
    (delayed,) = grouped.join(own={"delay": 100})
    grouped.join(drained)
    assert grouped.call("drain", delayed=False) == [b"done", drained]
    (last,) = grouped.join()
    assert grouped.step(2).ids == []
    grouped.pass_time(100)
    assert grouped.work_off() == [delayed, last]


def test_mark_of_another_runtime_is_honoured(grouped: GroupedQueue) -> None:
    ids = grouped.join(3)
    grouped.client.hset(grouped.key("group:k"), "skip:1", "1")
    grouped.client.delete(grouped.key(f"job:{ids[0]}"))
    assert grouped.work_off() == ids[1:]


def test_killed_job_that_is_retried_by_hand_runs_beside_the_order_but_in_a_slot(
    grouped: GroupedQueue,
) -> None:
    first, second, third = grouped.join(3)
    job = grouped.start_one()
    expire(grouped, second)
    grouped.client.hset(grouped.key(f"job:{second}"), "expireAt", 0)
    revoke(grouped, second)
    grouped.client.hdel(grouped.key(f"job:{second}"), "revoked")
    assert grouped.call("retry_job", id=second) == [b"ok"]
    assert grouped.complete(job) == [1]
    order = grouped.work_off(slots=1)
    assert sorted(order) == [second, third]
    assert (grouped.active(), grouped.next_seq()) == (0, 4)
    assert first in grouped.members("completed")


def test_cost_that_can_never_be_paid_at_the_head_lets_a_parked_job_go(grouped: GroupedQueue) -> None:
    settings: dict[str, Any] = {"bucket": (9000, 1000), "cost": 9000}
    dear = grouped.join(2, **settings)
    (cheap,) = grouped.join(bucket=(9000, 1000))
    job = grouped.step(3).started[0]
    grouped.client.hset(grouped.key("group:k"), mapping={"tbCapacity": 5000, "tbTokens": 5000})
    assert grouped.step(3, complete=[grouped.completion(job)]).ids == [cheap]
    assert grouped.state(dear[1]) == "failed"


def test_job_retried_before_its_turn_leaves_no_marker(grouped: GroupedQueue) -> None:
    head, revoked = grouped.join(2)
    revoke(grouped, revoked)
    assert grouped.group()["skip:2"] == 1
    assert grouped.call("retry_job", id=revoked) == [b"ok"]
    grouped.client.hdel(grouped.key(f"job:{revoked}"), "revoked")
    assert grouped.work_off() == [head, revoked]
    assert "skip:2" not in grouped.group()
    assert (grouped.active(), grouped.next_seq()) == (0, 3)
