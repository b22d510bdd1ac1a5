"""Token buckets of groups: what jobs cost, how tokens come back, and how nobody gets more than that."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.grouped_queue import GroupedQueue

TOKEN = 1000  # millitokens
OVER_COST = "cost exceeds token bucket capacity"


def tokens(grouped: GroupedQueue) -> int:
    return grouped.group()["tbTokens"]


def test_first_add_fills_the_bucket_and_a_start_takes_its_cost(grouped: GroupedQueue) -> None:
    grouped.join(bucket=(10 * TOKEN, 5 * TOKEN), cost=3 * TOKEN)
    assert grouped.group() == {
        "maxConcurrency": 1,
        "nextSeq": 1,
        "tbCapacity": 10_000,
        "tbRefillRate": 5_000,
        "tbTokens": 10_000,
        "tbLastRefill": grouped.now,
        "tbRefillRemainder": 0,
    }
    grouped.start_one()
    assert tokens(grouped) == 7_000


def test_job_that_names_no_cost_costs_one_token(grouped: GroupedQueue) -> None:
    grouped.join(bucket=(10 * TOKEN, TOKEN))
    grouped.start_one()
    assert tokens(grouped) == 9_000


def test_costs_of_nothing_are_not_stored_and_count_as_one_token(grouped: GroupedQueue) -> None:
    (job_id,) = grouped.join(bucket=(10 * TOKEN, TOKEN), cost=0)
    assert "cost" not in grouped.job(job_id)
    grouped.start_one()
    assert tokens(grouped) == 9_000


def test_job_waits_until_its_tokens_have_flowed_in(grouped: GroupedQueue) -> None:
    first, second = grouped.join(2, concurrency=9, bucket=(10 * TOKEN, 5 * TOKEN), cost=8 * TOKEN)
    stepped = grouped.step(2)
    assert stepped.ids == [first]
    # 2 tokens are left, 6 are missing: 1.2 s at 5 a second.
    due = grouped.now + 1200
    assert (stepped.next_due, grouped.wakes()) == (due, {"k": due})
    grouped.pass_time(1199)
    assert grouped.step(2).ids == []
    grouped.pass_time(1)
    assert grouped.step(2).ids == [second]
    assert tokens(grouped) == 0
    assert grouped.wakes() == {}


def test_cheap_job_does_not_overtake_a_dear_one(grouped: GroupedQueue) -> None:
    settings: dict[str, Any] = {"concurrency": 9, "bucket": (10 * TOKEN, TOKEN)}
    grouped.join(cost=9 * TOKEN, **settings)
    dear = grouped.join(cost=5 * TOKEN, **settings)
    cheap = grouped.join(cost=TOKEN, **settings)
    assert len(grouped.step(9).ids) == 1
    assert grouped.step(9).ids == []
    assert grouped.parked() == dear + cheap
    grouped.pass_time(4_000)
    assert grouped.step(9).ids == dear
    grouped.pass_time(1_000)
    assert grouped.step(9).ids == cheap


def test_many_small_refills_lose_nothing(grouped: GroupedQueue) -> None:
    # A third of a token per second: a hundredth of the bucket takes 300.3 ms.
    settings: dict[str, Any] = {"concurrency": 99, "bucket": (TOKEN, 333), "cost": 100}
    ids = grouped.join(16, **settings)
    assert grouped.step(20).ids == ids[:10]
    began = grouped.now
    starts = []
    while len(starts) < 6:
        grouped.pass_time(1)
        starts += [grouped.now - began] * len(grouped.step(9).ids)
    # 900.9 and 1801.8 rounded up: no fraction of a millitoken is lost.
    assert starts == [301, 601, 901, 1202, 1502, 1802]


def test_bucket_never_holds_more_than_its_capacity(grouped: GroupedQueue) -> None:
    settings: dict[str, Any] = {"concurrency": 99, "bucket": (5 * TOKEN, TOKEN)}
    grouped.join(3, **settings)
    assert len(grouped.step(9).ids) == 3
    grouped.pass_time(3_600_000)
    ids = grouped.join(6, **settings)
    assert grouped.step(9).ids == ids[:5]


def test_idle_hours_at_a_full_bucket_do_not_count_afterwards(grouped: GroupedQueue) -> None:
    settings: dict[str, Any] = {"concurrency": 99, "bucket": (5 * TOKEN, TOKEN)}
    grouped.join(1, **settings)
    grouped.pass_time(3_600_000)
    ids = grouped.join(10, **settings)
    # The bucket was full for an hour, yet five tokens are all that there is.
    assert len(grouped.step(20).ids) == 5
    grouped.pass_time(1)
    assert grouped.step(20).ids == []
    grouped.pass_time(999)
    assert grouped.step(20).ids == ids[4:5]


def test_starts_within_any_time_cost_no_more_than_capacity_and_inflow(grouped: GroupedQueue) -> None:
    settings: dict[str, Any] = {"concurrency": 99, "bucket": (4 * TOKEN, 2 * TOKEN)}
    grouped.join(40, **settings)
    starts: list[int] = []
    began = grouped.now
    while grouped.parked() or not starts:
        starts += [grouped.now] * len(grouped.step(99).ids)
        grouped.pass_time(70)
    assert len(starts) == 40
    for first, at in enumerate(starts):
        for last in range(first, len(starts)):
            assert (last - first + 1) * TOKEN <= 4 * TOKEN + (starts[last] - at) * 2
    assert starts[-1] - began <= 36 / 2 * 1000 + 70


def test_retry_pays_again_and_waits_for_its_tokens(grouped: GroupedQueue) -> None:
    (job_id,) = grouped.join(bucket=(10 * TOKEN, TOKEN), cost=6 * TOKEN)
    (other,) = grouped.join(bucket=(10 * TOKEN, TOKEN), cost=TOKEN)
    grouped.fail(grouped.start_one(), max_attempts=2)
    assert grouped.step(2).ids == []
    assert (grouped.parked(), grouped.active()) == ([job_id, other], 0)
    assert grouped.wakes() == {"k": grouped.now + 2_000}
    grouped.pass_time(2_000)
    # The cheaper one, which has waited as long, does not take the turn of the one that failed.
    (again,) = grouped.step(2).started
    assert (again.id, grouped.active(), tokens(grouped)) == (job_id, 1, 0)
    assert grouped.complete(again) == [1]
    grouped.pass_time(1_000)
    assert grouped.step(2).ids == [other]


def test_job_given_back_unstarted_gets_its_tokens_back(grouped: GroupedQueue) -> None:
    grouped.join(bucket=(10 * TOKEN, TOKEN), cost=8 * TOKEN)
    job = grouped.start_one()
    assert tokens(grouped) == 2_000
    grouped.release(job)
    assert tokens(grouped) == 10_000
    assert grouped.start_one().id == job.id
    assert tokens(grouped) == 2_000


def test_activation_whose_reply_was_lost_gets_its_tokens_back(grouped: GroupedQueue) -> None:
    (job_id,) = grouped.join(bucket=(10 * TOKEN, TOKEN), cost=8 * TOKEN)
    grouped.start_one()
    assert grouped.recover_orphans() == [job_id]
    assert (tokens(grouped), grouped.active()) == (10_000, 1)
    assert grouped.step(1).ids == [job_id]


def test_crashed_job_has_spent_its_tokens(grouped: GroupedQueue) -> None:
    (job_id,) = grouped.join(bucket=(10 * TOKEN, TOKEN), cost=8 * TOKEN)
    grouped.release(grouped.start_one(), crash="SIGSEGV")
    assert tokens(grouped) == 2_000
    assert grouped.step(1).ids == []
    grouped.pass_time(6_000)
    assert grouped.step(1).ids == [job_id]


def test_bucket_without_inflow_keeps_the_group_waiting(grouped: GroupedQueue) -> None:
    grouped.join(2, concurrency=2, bucket=(TOKEN, TOKEN))
    grouped.client.hset(grouped.key("group:k"), "tbRefillRate", 0)
    stepped = grouped.step(2)
    assert len(stepped.ids) == 1
    assert stepped.next_due == grouped.now + 1_000_000
    grouped.pass_time(1_000_000)
    assert grouped.step(2).ids == []


# -- a cost that the capacity can never cover


def test_add_of_a_job_that_could_never_start_is_refused_before_any_write(grouped: GroupedQueue) -> None:
    rows = [grouped.row(), grouped.row(extra=grouped.extra(bucket=(TOKEN, TOKEN), cost=TOKEN + 1))]
    assert grouped.enqueue(*rows, idem="x") == [b"cost_exceeds_capacity", 2]
    assert grouped.suffixes() == []


def test_cost_of_exactly_the_capacity_is_accepted(grouped: GroupedQueue) -> None:
    (job_id,) = grouped.join(bucket=(TOKEN, TOKEN), cost=TOKEN)
    assert grouped.start_one().id == job_id


def test_default_cost_counts_against_the_capacity_of_an_add_too(grouped: GroupedQueue) -> None:
    reply = grouped.enqueue(grouped.row(extra=grouped.extra(bucket=(TOKEN - 1, TOKEN))))
    assert reply == [b"cost_exceeds_capacity", 1]


@pytest.mark.parametrize("parked", [False, True])
def test_capacity_lowered_below_a_cost_fails_the_job_and_lets_the_next_go(
    grouped: GroupedQueue, parked: bool
) -> None:
    (running,) = grouped.join(bucket=(9 * TOKEN, TOKEN)) if parked else ("",)
    (dear,) = grouped.join(bucket=(9 * TOKEN, TOKEN), cost=9 * TOKEN)
    (next_one,) = grouped.join(bucket=(9 * TOKEN, TOKEN))
    done = []
    if parked:
        (job,) = grouped.step(3).started
        assert job.id == running
        assert grouped.parked() == [dear, next_one]
        done = [grouped.completion(job)]
    grouped.client.hset(grouped.key("group:k"), "tbCapacity", 5 * TOKEN)
    stepped = grouped.step(3, complete=done)
    assert stepped.ids == [next_one]
    job_hash = grouped.job(dear)
    assert (job_hash["state"], job_hash["failedReason"]) == ("failed", OVER_COST)
    assert job_hash["attemptsMade"] == "0"
    assert grouped.members("failed") == {dear: grouped.now}
    assert grouped.events_of(dear) == ["added", "failed"]
    assert [count for name, count in grouped.metrics("failed").items() if name.endswith(":c")] == [1]
    assert grouped.parked() == []
