"""Job options: what leaves for the wire, what comes back, and what is refused with which sentence."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from glidemq.errors import ValidationError
from glidemq.options import (
    NO_OPTIONS,
    Backoff,
    Deduplication,
    JobOptions,
    Ordering,
    RateLimit,
    Retention,
    TokenBucket,
    from_wire,
    to_wire,
)
from glidemq.options.names import check_job_name, check_prefix, check_queue_name

DAY = 86_400


@pytest.mark.parametrize(
    ("options", "wire"),
    [
        ({"job_id": "007"}, {"jobId": "007"}),
        ({"job_id": "é" * 256}, {"jobId": "é" * 256}),
        ({"delay": 1.5}, {"delay": 1500}),
        ({"delay": timedelta(days=400)}, {"delay": 400 * DAY * 1000}),
        ({"delay": 3600}, {"delay": 3_600_000}),
        ({"delay": 0}, {"delay": 0}),
        ({"priority": 2048}, {"priority": 2048}),
        ({"lifo": True}, {"lifo": True}),
        ({"ordering": Ordering("k1")}, {"ordering": {"key": "k1"}}),
        ({"ordering": {"key": "k2", "concurrency": 2}}, {"ordering": {"key": "k2", "concurrency": 2}}),
        (
            {"ordering": Ordering("rl", rate_limit=RateLimit(1, 0.3))},
            {"ordering": {"key": "rl", "rateLimit": {"max": 1, "duration": 300}}},
        ),
        (
            {"ordering": {"key": "tb", "token_bucket": {"capacity": 10, "refill_rate": 5}}, "cost": 3},
            {"ordering": {"key": "tb", "tokenBucket": {"capacity": 10, "refillRate": 5}}, "cost": 3},
        ),
        (
            {"ordering": Ordering("tb", token_bucket=TokenBucket(0.5, 0.25)), "cost": 0.5, "attempts": 2},
            {
                "ordering": {"key": "tb", "tokenBucket": {"capacity": 0.5, "refillRate": 0.25}},
                "cost": 0.5,
                "attempts": 2,
            },
        ),
        ({"cost": 0}, {"cost": 0}),
        ({"deduplication": Deduplication("s1")}, {"deduplication": {"id": "s1", "mode": "simple"}}),
        (
            {"deduplication": Deduplication("t1", ttl=5, mode="throttle")},
            {"deduplication": {"id": "t1", "mode": "throttle", "ttl": 5000}},
        ),
        (
            {"deduplication": {"id": "b:1", "mode": "debounce", "ttl": timedelta(seconds=0.3)}, "delay": 0.3},
            {"deduplication": {"id": "b:1", "mode": "debounce", "ttl": 300}, "delay": 300},
        ),
        ({"ttl": 0.0001}, {"ttl": 1}),
        ({"attempts": 3}, {"attempts": 3}),
        ({"backoff": Backoff.fixed(2)}, {"backoff": {"type": "fixed", "delay": 2000}}),
        (
            {"backoff": Backoff.exponential(timedelta(seconds=1), jitter=0.1)},
            {"backoff": {"type": "exponential", "delay": 1000, "jitter": 0.1}},
        ),
        ({"backoff": {"type": "mine"}}, {"backoff": {"type": "mine", "delay": 0}}),
        ({"timeout": 0.25}, {"timeout": 250}),
        ({"lock_duration": 1}, {"lockDuration": 1000}),
        ({"lock_duration": timedelta(days=1)}, {"lockDuration": 86_400_000}),
        ({"remove_on_complete": True}, {"removeOnComplete": True}),
        ({"remove_on_complete": 100}, {"removeOnComplete": 100}),
        ({"remove_on_fail": Retention(age=60)}, {"removeOnFail": {"age": 60}}),
        ({"remove_on_fail": {"age": timedelta(1), "count": 5}}, {"removeOnFail": {"age": DAY, "count": 5}}),
        ({"remove_on_fail": False}, {"removeOnFail": False}),
        ({"attempts": None, "delay": None}, {}),
        ({"ttl": 5, "attempts": 2, "job_id": "a"}, {"ttl": 5000, "attempts": 2, "jobId": "a"}),
    ],
)  # fmt: skip
def test_wire_holds_exactly_what_was_given_under_the_wire_s_names_and_units(
    options: JobOptions, wire: dict[str, Any]
) -> None:
    assert json.loads(to_wire(options).json) == wire
    assert list(json.loads(to_wire(options).json)) == list(wire)


def test_hash_fields_are_derived_from_the_options() -> None:
    wire = to_wire(
        {"delay": 2, "priority": 3, "lifo": True, "ttl": 4, "attempts": 5, "job_id": "x", "timeout": 1}
    )
    assert wire[1:] == (2000, 3, True, 4000, 5, "x", None, 0, None, (), False)
    assert to_wire({}) is NO_OPTIONS
    assert NO_OPTIONS == (b"{}", 0, 0, False, 0, 0, None, None, 0, None, (), False)


def test_group_and_cost_are_derived_in_thousandths_of_tokens() -> None:
    ordering = Ordering("k", 2, rate_limit=RateLimit(5, 1.5), token_bucket=TokenBucket(2.5, 0.0004999))
    with pytest.raises(ValidationError, match=r"from 0\.001 to"):
        to_wire({"ordering": ordering})
    ordering = Ordering("k", 2, rate_limit=RateLimit(5, 1.5), token_bucket=TokenBucket(2.5, 0.0005))
    wire = to_wire({"ordering": ordering, "cost": 1.0006})
    assert wire.group == ("k", 2, 5, 1500, 2500, 1)
    assert wire.cost == 1001
    assert to_wire({"ordering": Ordering("k")}).group == ("k", 1, 0, 0, 0, 0)


NUMBER = "a non-negative finite number of seconds or a timedelta"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"job_id": ""}, "job_id must be a non-empty string, not ''"),
    ({"job_id": 7}, "job_id must be a non-empty string, not 7"),
    ({"job_id": "x" * 257}, "job_id must be at most 256 characters"),
    ({"job_id": "😀" * 129}, "job_id must be at most 256 characters"),
    *(
        ({"job_id": f"a{bad}b"}, "job_id must not contain control characters, curly braces, or colons")
        for bad in ("\x00", "\x1f", "\n", "\x7f", "{", "}", ":")
    ),
    ({"job_id": "\ud800"}, "job_id must be valid Unicode text: it contains a lone surrogate"),
    ({"priority": 2049}, "Priority must be <= 2048"),
    ({"priority": -1}, "Priority must be >= 0"),
    ({"priority": 1.5}, "priority must be an integer between 0 and 2048"),
    ({"priority": True}, "priority must be an integer between 0 and 2048"),
    ({"priority": "1"}, "priority must be an integer between 0 and 2048"),
    ({"delay": -1}, "Delay must be >= 0: a finite number of seconds or a timedelta"),
    ({"delay": float("nan")}, "Delay must be >= 0: a finite number of seconds or a timedelta"),
    ({"delay": True}, "Delay must be >= 0: a finite number of seconds or a timedelta"),
    ({"delay": "5"}, "Delay must be >= 0: a finite number of seconds or a timedelta"),
    ({"delay": 10**400}, "Delay must be >= 0: a finite number of seconds or a timedelta"),
    ({"delay": timedelta(days=70 * 365)}, "delay must be less than 69 years; durations are in seconds"),
    ({"ttl": -0.1}, "ttl must be a non-negative finite number"),
    ({"ttl": float("inf")}, "ttl must be a non-negative finite number"),
    ({"ttl": "1"}, "ttl must be a non-negative finite number"),
    ({"timeout": 0}, "timeout must be a positive finite number of seconds or a timedelta"),
    ({"timeout": -1}, "timeout must be a positive finite number of seconds or a timedelta"),
    (
        {"lock_duration": 30_000},
        "lock_duration=30_000 means 8:20:00: durations are in seconds, so 30_000 milliseconds"
        " are lock_duration=30; pass a timedelta for 1000 seconds and more",
    ),
    ({"lock_duration": 0.5}, "lock_duration must be a finite number between 1 and 86400"),
    ({"lock_duration": timedelta(days=2)}, "lock_duration must be a finite number between 1 and 86400"),
    ({"lock_duration": float("nan")}, "lock_duration must be a finite number between 1 and 86400"),
    ({"lifo": 1}, "lifo must be True or False"),
    ({"ordering": "k"}, "ordering must be an Ordering or a mapping with its fields, not 'k'"),
    ({"ordering": {}}, "ordering needs a key"),
    ({"ordering": Ordering("")}, "ordering.key must be a non-empty string, not ''"),
    ({"ordering": {"key": 5}}, "ordering.key must be a non-empty string, not 5"),
    ({"ordering": {"key": "x" * 257}}, "Ordering key exceeds maximum length (257 > 256)."),
    ({"ordering": {"key": "😀" * 129}}, "Ordering key exceeds maximum length (258 > 256)."),
    ({"ordering": {"key": "__"}}, "Ordering key '__' is reserved as an internal sentinel."),
    ({"ordering": {"key": "\ud800"}},
     "ordering.key must be valid Unicode text: it contains a lone surrogate"),
    ({"ordering": {"key": "k", "concurrency": 0}}, "ordering.concurrency must be a positive integer"),
    ({"ordering": {"key": "k", "concurrency": True}}, "ordering.concurrency must be a positive integer"),
    ({"ordering": {"key": "k", "rateLimit": 1}},
     "Unknown field of ordering 'rateLimit': did you mean 'rate_limit'?"),
    ({"ordering": {"key": "k", "rate_limit": {"max": 1}}}, "ordering.rate_limit needs a max and a duration"),
    ({"ordering": {"key": "k", "rate_limit": RateLimit(0, 1)}},
     "ordering.rate_limit.max must be a positive integer"),
    ({"ordering": {"key": "k", "token_bucket": {"capacity": 1}}},
     "token_bucket needs a capacity and a refill_rate"),
    *(
        ({"ordering": {"key": "k", "token_bucket": TokenBucket(bad, 1)}},
         "token_bucket.capacity must be a positive finite number")
        for bad in (0, -1, float("inf"), float("nan"), True, "5")
    ),
    ({"ordering": {"key": "k", "token_bucket": TokenBucket(1, 0)}},
     "token_bucket.refill_rate must be a positive finite number"),
    ({"ordering": {"key": "k", "token_bucket": TokenBucket(10**400, 1)}},
     "token_bucket.capacity must be a positive finite number, from 0.001 to 10000000000"),
    *(
        ({"cost": bad}, "cost must be a non-negative finite number")
        for bad in (-1, float("inf"), float("nan"), False, "3")
    ),
    ({"cost": 0.0001}, "cost must be a non-negative finite number, from 0.001 to 10000000000"),
    ({"ordering": {"key": "k", "token_bucket": TokenBucket(2, 1)}, "cost": 2.001},
     "Job cost exceeds token bucket capacity"),
    ({"ordering": {"key": "k", "token_bucket": TokenBucket(0.5, 1)}},
     "Job cost exceeds token bucket capacity"),
    ({"lifo": True, "ordering": Ordering("k")}, "lifo and ordering.key cannot be used together"),
    ({"deduplication": {"mode": "simple"}}, "deduplication needs an id"),
    ({"deduplication": "d"}, "deduplication must be a Deduplication or a mapping with its fields, not 'd'"),
    ({"deduplication": {"id": "d", "tll": 1}}, "Unknown field of deduplication 'tll': did you mean 'ttl'?"),
    ({"deduplication": {"id": ""}}, "deduplication.id must be a non-empty string, not ''"),
    ({"deduplication": {"id": 5}}, "deduplication.id must be a non-empty string, not 5"),
    ({"deduplication": {"id": "x" * 257}}, "deduplication.id must be at most 256 characters"),
    ({"deduplication": {"id": "\ud800"}},
     "deduplication.id must be valid Unicode text: it contains a lone surrogate"),
    ({"deduplication": {"id": "d", "mode": "once"}},
     "deduplication.mode must be 'simple', 'throttle' or 'debounce', not 'once'"),
    ({"deduplication": {"id": "d", "mode": "throttle"}}, "deduplication.mode 'throttle' needs a ttl"),
    ({"deduplication": {"id": "d", "mode": "debounce"}}, "deduplication.mode 'debounce' needs a ttl"),
    ({"deduplication": {"id": "d", "ttl": 0}},
     "deduplication.ttl must be a positive finite number of seconds or a timedelta"),
    ({"attempts": -1}, "attempts must be a non-negative integer"),
    ({"attempts": 2.0}, "attempts must be a non-negative integer"),
    ({"attempts": 2**31}, "attempts must be a non-negative integer"),
    ({"backoff": 5}, "backoff must be a Backoff or a mapping with its fields, not 5"),
    ({"backoff": Backoff("fixed", -1)}, f"backoff.delay must be {NUMBER}"),
    ({"backoff": Backoff("")},
     'backoff.type must be "fixed", "exponential" or the name of a custom strategy'),
    ({"backoff": Backoff("fixed", 1, -0.1)}, "backoff.jitter must be a non-negative finite number"),
    ({"backoff": {"type": "fixed", "dealy": 1}}, "Unknown field of backoff 'dealy': did you mean 'delay'?"),
    (
        {"remove_on_complete": -1},
        "remove_on_complete must be True, False, a non-negative integer or a Retention",
    ),
    (
        {"remove_on_fail": "all"},
        "remove_on_fail must be a Retention or a mapping with its fields, not 'all'",
    ),
    ({"remove_on_fail": {}}, "remove_on_fail needs an age, a count or both"),
    ({"remove_on_fail": {"count": -1}}, "remove_on_fail.count must be a non-negative integer"),
    ({"remove_on_fail": {"age": -1}}, f"remove_on_fail.age must be {NUMBER}"),
    ({"jobId": "a"}, "Unknown job option 'jobId': did you mean 'job_id'?"),
    ({"removeOnComplete": True}, "Unknown job option 'removeOnComplete': did you mean 'remove_on_complete'?"),
    ({"atempts": 3}, "Unknown job option 'atempts': did you mean 'attempts'?"),
    (
        {"zzz": 3},
        "Unknown job option 'zzz': known are attempts, backoff, cost, deduplication, delay,"
        " estimated_cost, estimated_tokens, fallbacks, job_id, lifo,"
        " lock_duration, on_failure, ordering, parent, parents, priority, remove_on_complete, remove_on_fail,"
        " stream_limit, stream_ttl, timeout, ttl",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_option_out_of_range_or_of_the_wrong_type_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        to_wire(options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "Queue name must be a non-empty string"),
        (None, "Queue name must be a non-empty string"),
        ("x" * 257, "Queue name must be at most 256 characters"),
        ("a:b", "Queue name must not contain curly braces or colons"),
        ("{a}", "Queue name must not contain curly braces or colons"),
        ("\udfff", "Queue name must be valid Unicode text: it contains a lone surrogate"),
    ],
)
def test_bad_queue_name_is_refused(name: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        check_queue_name(name)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["x", "x" * 256, "with space/and.dots", "naïve-キュー"])
def test_other_queue_names_are_kept_verbatim(name: str) -> None:
    assert check_queue_name(name) == name


@pytest.mark.parametrize("prefix", ["", None, "a{b", "}"])
def test_bad_prefix_is_refused(prefix: Any) -> None:
    with pytest.raises(ValidationError, match="prefix must be a non-empty string without curly braces"):
        check_prefix(prefix)


@pytest.mark.parametrize("name", ["", None, 5, "x" * 257, "\ud800"])
def test_bad_job_name_is_refused(name: Any) -> None:
    with pytest.raises(ValidationError, match=r"^Job name must be"):
        check_job_name(name)


def test_options_of_a_stored_job_come_back_under_python_names_in_seconds() -> None:
    options: JobOptions = {
        "job_id": "a",
        "deduplication": Deduplication("d", 2.5, "debounce"),
        "delay": 1.5,
        "priority": 2,
        "lifo": False,
        "ordering": Ordering("k", 2, RateLimit(1, 0.3), TokenBucket(10, 0.5)),
        "cost": 2.5,
        "ttl": 3.0,
        "attempts": 4,
        "backoff": Backoff("exponential", 0.25, 0.5),
        "timeout": 5.0,
        "lock_duration": 6.0,
        "remove_on_complete": True,
        "remove_on_fail": Retention(7, 8),
    }
    assert from_wire(json.loads(to_wire(options).json)) == options


def test_options_written_by_others_are_read_as_far_as_they_make_sense() -> None:
    foreign = {
        "attempts": "many",
        "backoff": {"delay": 5},
        "delay": 1e300,
        "ordering": {"concurrency": 2},
        "deduplication": {"id": "d", "mode": "sometimes"},
        "cost": "much",
        "fallbacks": {"model": "m"},
        "ttl": 1.5,
        "lifo": None,
    }
    assert from_wire(foreign) == {"ttl": 0.0015}
