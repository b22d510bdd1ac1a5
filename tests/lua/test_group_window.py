"""Rate limits of groups: so many starts per window."""

from __future__ import annotations

from typing import Any

from tests.lua.grouped_queue import GroupedQueue


def test_window_opens_with_the_first_start_and_counts(grouped: GroupedQueue) -> None:
    grouped.join(2, concurrency=5, rate=(3, 1000))
    assert grouped.group() == {"maxConcurrency": 5, "nextSeq": 1, "rateMax": 3, "rateDuration": 1000}
    grouped.pass_time(500)
    grouped.step(1)
    assert (grouped.group()["rateWindowStart"], grouped.group()["rateCount"]) == (grouped.now, 1)
    grouped.pass_time(10)
    grouped.step(1)
    assert (grouped.group()["rateWindowStart"], grouped.group()["rateCount"]) == (grouped.now - 10, 2)


def test_what_exceeds_the_window_waits_for_its_end(grouped: GroupedQueue) -> None:
    ids = grouped.join(7, concurrency=9, rate=(3, 1000))
    opened = grouped.now
    assert grouped.step(9).ids == ids[:3]
    assert grouped.wakes() == {"k": opened + 1000}
    grouped.pass_time(400)
    stepped = grouped.step(9)
    assert (stepped.ids, stepped.next_due) == ([], opened + 1000)
    grouped.pass_time(600)
    assert grouped.step(9).ids == ids[3:6]
    grouped.pass_time(1000)
    assert grouped.step(9).ids == ids[6:]
    assert grouped.wakes() == {}


def test_end_of_a_job_lets_the_next_wait_for_the_window(grouped: GroupedQueue) -> None:
    _, second = grouped.join(2, rate=(1, 300))
    job = grouped.step(2).started[0]
    grouped.pass_time(5)
    stepped = grouped.step(2, complete=[grouped.completion(job)])
    assert (stepped.ids, stepped.next_due) == ([], grouped.now + 295)
    grouped.pass_time(295)
    assert grouped.step(2).ids == [second]


def test_retry_counts_and_waits_like_a_new_job(grouped: GroupedQueue) -> None:
    (job_id,) = grouped.join(rate=(1, 1000))
    grouped.fail(grouped.start_one(), max_attempts=2)
    assert grouped.step(1).ids == []
    assert grouped.parked() == [job_id]
    grouped.pass_time(1000)
    assert grouped.step(1).ids == [job_id]
    assert grouped.group()["rateCount"] == 1


def test_start_that_did_not_happen_does_not_count(grouped: GroupedQueue) -> None:
    (job_id,) = grouped.join(rate=(1, 1000))
    job = grouped.start_one()
    grouped.pass_time(10)
    grouped.release(job)
    assert grouped.group()["rateCount"] == 0
    assert grouped.step(1).ids == [job_id]


def test_start_of_an_earlier_window_is_not_taken_from_this_one(grouped: GroupedQueue) -> None:
    grouped.join(2, concurrency=2, rate=(1, 1000))
    early = grouped.start_one()
    grouped.step(2)
    grouped.pass_time(1000)
    grouped.start_one()
    grouped.release(early)
    assert grouped.group()["rateCount"] == 1


def test_bucket_and_window_both_apply(grouped: GroupedQueue) -> None:
    settings: dict[str, Any] = {"concurrency": 9, "rate": (2, 1000), "bucket": (3000, 1000)}
    ids = grouped.join(6, **settings)
    assert grouped.step(9).ids == ids[:2]  # the window keeps the third, for which there is a token
    grouped.pass_time(1000)
    assert grouped.step(9).ids == ids[2:4]
    grouped.pass_time(1000)
    assert grouped.step(9).ids == ids[4:5]  # the bucket keeps the sixth
    assert grouped.group()["tbTokens"] == 0
    grouped.pass_time(1000)
    assert grouped.step(9).ids == ids[5:]


def test_many_groups_become_due_in_bounded_calls(grouped: GroupedQueue) -> None:
    keys = [f"g{n}" for n in range(150)]
    for key in keys:
        grouped.join(2, key=key, concurrency=2, rate=(1, 1000))
    first: list[str] = []
    while len(first) < 150:
        first += grouped.step(400).ids
    assert grouped.step(400).ids == []
    assert len(grouped.wakes()) == 150
    grouped.pass_time(1000)
    second: list[str] = []
    stepped = grouped.step(400)
    assert stepped.ids
    while stepped.ids:
        second += stepped.ids
        stepped = grouped.step(400)
    assert len(second) == 150
    assert (grouped.wakes(), stepped.next_due) == ({}, -1)
