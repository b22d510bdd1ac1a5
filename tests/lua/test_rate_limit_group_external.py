"""gmq_rate_limit_group_external: a group is paused from outside."""

from __future__ import annotations

import pytest

from tests.lua.grouped_queue import GroupedQueue


def rate_limit(grouped: GroupedQueue, duration: int, *, key: str = "k", extend: str = "max") -> int:
    """When the group goes on."""
    status, resume_at = grouped.call(
        "rate_limit_group_external", group_key=key, duration_ms=duration, extend=extend
    )
    assert status == b"ok"
    return int(resume_at)


def test_running_jobs_go_on_and_no_other_starts(grouped: GroupedQueue) -> None:
    _, second, third = grouped.join(3, concurrency=2)
    (other,) = grouped.join(key="other")
    job = grouped.start_one()
    assert rate_limit(grouped, 1000) == grouped.now + 1000
    assert grouped.events()[-1] == {
        "event": "group-rate-limited",
        "jobId": "",
        "groupKey": "k",
        "duration": "1000",
        "resumeAt": str(grouped.now + 1000),
    }
    assert grouped.step(4, complete=[grouped.completion(job)]).ids == [other]
    assert grouped.parked() == [second, third]
    grouped.pass_time(1000)
    assert grouped.step(4).ids == [second, third]


def test_pause_of_an_idle_group_holds_what_is_added_later(grouped: GroupedQueue) -> None:
    rate_limit(grouped, 1000)
    assert "group:k" not in grouped.suffixes()
    (first,) = grouped.join()
    assert grouped.step(2).ids == []
    grouped.pass_time(1000)
    assert grouped.step(2).ids == [first]


@pytest.mark.parametrize(("extend", "resumed_after", "rings"), [("max", 5000, 0), ("replace", 100, 1)])
def test_shorter_pause_counts_only_as_a_replacement_and_is_made_known(
    grouped: GroupedQueue, extend: str, resumed_after: int, rings: int
) -> None:
    (first,) = grouped.join()
    rate_limit(grouped, 5000)
    assert grouped.step(1).next_due == grouped.now + 5000
    before = grouped.rings()
    assert rate_limit(grouped, 100, extend=extend) == grouped.now + resumed_after
    assert grouped.rings() == before + rings
    grouped.pass_time(resumed_after)
    assert grouped.step(1).ids == [first]


def test_longer_pause_always_counts(grouped: GroupedQueue) -> None:
    rate_limit(grouped, 100)
    for extend in ("max", "replace"):
        grouped.pass_time(1)
        assert rate_limit(grouped, 5000, extend=extend) == grouped.now + 5000


def test_kick_and_release_do_not_cut_a_pause_short(grouped: GroupedQueue) -> None:
    # The end of a run, a skipped sequence and a change of settings all look for jobs to let go.
    ids = grouped.join(4, concurrency=2)
    jobs = grouped.step(4).started
    rate_limit(grouped, 1000)
    grouped.complete(jobs[0])
    grouped.call("remove", id=ids[2])
    grouped.join(concurrency=5)
    assert grouped.step(9).ids == []
    assert grouped.wakes() == {"k": grouped.now + 1000}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"group_key": ""}, b"group_key must not be empty"),
        ({"duration_ms": 0}, b"duration_ms is out of range"),
        ({"extend": "min"}, b"extend is unknown"),
    ],
)
def test_malformed_arguments_are_refused(
    grouped: GroupedQueue, arguments: dict[str, object], fault: bytes
) -> None:
    given = {"group_key": "k", "duration_ms": 1000, "extend": "max", **arguments}
    assert grouped.call("rate_limit_group_external", **given) == [b"bad_argument", fault]
    assert grouped.suffixes() == []
