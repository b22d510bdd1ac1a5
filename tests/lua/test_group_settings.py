"""Adds to groups: sequences, and the settings of a group, for which the last add counts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.grouped_queue import GroupedQueue

BUCKET_FIELDS = {"tbCapacity", "tbRefillRate", "tbTokens", "tbLastRefill", "tbRefillRemainder"}
WINDOW_FIELDS = {"rateMax", "rateDuration", "rateWindowStart", "rateCount"}


def test_hash_tells_key_sequence_and_cost(grouped: GroupedQueue) -> None:
    grouped.join(2, key="user:42", cost=1500)
    (other,) = grouped.join(key="b")
    job = grouped.job("2")
    assert (job["groupKey"], job["orderingSeq"], job["cost"]) == ("user:42", "2", "1500")
    assert (grouped.job(other)["orderingSeq"], grouped.job(other).get("cost")) == ("1", None)
    sequences = grouped.client.hgetall(grouped.key("ordering"))
    assert sequences == {b"user:42": b"2", b"b": b"1"}


def test_duplicate_custom_id_takes_no_sequence(grouped: GroupedQueue) -> None:
    grouped.join(own={"job_id": "x"})
    row = grouped.row(job_id="x", extra=grouped.extra(concurrency=9))
    assert grouped.enqueue(row)[1] == [False]
    assert grouped.client.hgetall(grouped.key("ordering")) == {b"k": b"1"}
    assert grouped.group()["maxConcurrency"] == 1


def test_last_add_settles_the_concurrency(grouped: GroupedQueue) -> None:
    grouped.join(concurrency=3)
    assert grouped.group()["maxConcurrency"] == 3
    grouped.join()
    assert grouped.group()["maxConcurrency"] == 1


def test_add_without_limits_takes_them_away(grouped: GroupedQueue) -> None:
    grouped.join(rate=(1, 100), bucket=(1000, 1000))
    grouped.start_one()
    assert grouped.group().keys() > BUCKET_FIELDS | WINDOW_FIELDS
    grouped.join()
    assert grouped.group() == {"maxConcurrency": 1, "nextSeq": 2, "active": 1}
    assert not grouped.client.hexists(grouped.key("group:k"), "x-py:tbFullAt")


def test_changed_limits_keep_what_was_used(grouped: GroupedQueue) -> None:
    grouped.join(rate=(5, 1000), bucket=(9000, 1000))
    grouped.start_one()
    grouped.join(rate=(2, 1000), bucket=(20_000, 1000))
    group = grouped.group()
    assert (group["rateMax"], group["rateCount"]) == (2, 1)
    assert (group["tbCapacity"], group["tbTokens"]) == (20_000, 8_000)


def test_repeated_settings_write_the_group_only_once(grouped: GroupedQueue) -> None:
    grouped.join(concurrency=2, bucket=(5000, 1000))
    grouped.client.config_resetstat()
    grouped.join(10, concurrency=2, bucket=(5000, 1000))
    stats = grouped.client.info("commandstats")
    assert stats["cmdstat_hset"]["calls"] == 10  # the jobs


@pytest.mark.parametrize(
    ("before", "after", "started"),
    [
        ({"concurrency": 1}, {"concurrency": 3}, 2),
        ({"concurrency": 9, "rate": (1, 10_000)}, {"concurrency": 9, "rate": (3, 10_000)}, 2),
        ({"concurrency": 9, "rate": (1, 10_000)}, {"concurrency": 9}, 4),
        ({"concurrency": 9, "bucket": (1000, 1)}, {"concurrency": 9}, 4),
    ],
)
def test_wider_limits_let_parked_jobs_go_at_once(
    grouped: GroupedQueue, before: dict[str, Any], after: dict[str, Any], started: int
) -> None:
    ids = grouped.join(4, **before)
    assert grouped.step(9).ids == ids[:1]
    assert grouped.parked() == ids[1:]
    rings = grouped.rings()
    (last,) = grouped.join(**after)
    assert grouped.rings() == rings + 1
    assert grouped.step(9).ids == [*ids[1:], last][:started]


def test_change_of_settings_does_not_end_a_pause(grouped: GroupedQueue) -> None:
    first, second = grouped.join(2)
    job = grouped.step(2).started[0]
    until = grouped.now + 5_000
    grouped.client.zadd(grouped.key("ratelimited"), {"k": until})
    grouped.join(concurrency=9)
    assert grouped.wakes() == {"k": until}
    assert grouped.step(9, complete=[grouped.completion(job)]).ids == []
    grouped.pass_time(5_000)
    assert grouped.step(9).ids[:1] == [second]
    assert first in grouped.members("completed")


@pytest.mark.parametrize(
    ("extra", "fault"),
    [
        ({"ordering": {}}, b"row 1: ordering must be a map with a key"),
        ({"ordering": {"key": ""}}, b"row 1: ordering must be a map with a key"),
        ({"ordering": "k"}, b"row 1: ordering must be a map with a key"),
        ({"ordering": {"key": "k", "lanes": 2}}, b"row 1: unknown member lanes of ordering"),
        ({"ordering": {"key": "k", "concurrency": 0}}, b"row 1: concurrency must be a whole number above 0"),
        ({"ordering": {"key": "k", "rate_max": 1.5}}, b"row 1: rate_max must be a whole number above 0"),
        (
            {"ordering": {"key": "k", "rate_max": 1}},
            b"row 1: rate_max and rate_duration_ms come together",
        ),
        (
            {"ordering": {"key": "k", "tb_refill": 1}},
            b"row 1: tb_capacity and tb_refill come together",
        ),
        ({"cost": -1}, b"row 1: cost must be a whole number of millitokens"),
        ({"cost": "3"}, b"row 1: cost must be a whole number of millitokens"),
        ({"price": 1}, b"row 1: unknown member price of extra"),
    ],
)
def test_malformed_settings_are_refused_and_nothing_is_written(
    grouped: GroupedQueue, extra: dict[str, Any], fault: bytes
) -> None:
    assert grouped.enqueue(grouped.row(extra=extra)) == [b"bad_argument", fault]
    assert grouped.suffixes() == []


def test_lifo_and_ordering_exclude_each_other(grouped: GroupedQueue) -> None:
    reply = grouped.enqueue(grouped.row(lifo=1, extra=grouped.extra()))
    assert reply == [b"bad_argument", b"row 1: lifo and ordering cannot be used together"]


def test_repeated_call_takes_no_second_sequence(grouped: GroupedQueue) -> None:
    row = grouped.row(extra=grouped.extra())
    assert grouped.enqueue(row, idem="once") == grouped.enqueue(row, idem="once")
    assert grouped.client.hgetall(grouped.key("ordering")) == {b"k": b"1"}
