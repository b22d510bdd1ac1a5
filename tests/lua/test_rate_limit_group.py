"""gmq_rate_limit_group: a running job pauses its group, and is parked or fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.driven_queue import Started
from tests.lua.grouped_queue import GroupedQueue

PARKED, ALREADY, GONE, LEASE_LOST, FAILED, NO_GROUP = 1, 2, 3, 4, 6, 8
DONE = PARKED  # what was asked for


def rate_limit(
    grouped: GroupedQueue,
    job: Started,
    duration: int = 1000,
    *,
    current: str = "requeue",
    position: str = "front",
    extend: str = "max",
) -> list[int]:
    """[code, resume_at]"""
    row = [*job.fence, job.entry_id, duration, current, position, extend]
    reply = grouped.call("rate_limit_group", rows=[row])
    assert reply[0] == b"ok", reply
    outcome: list[int] = reply[2][0]
    return outcome


def test_job_is_parked_uncharged_and_its_group_waits(grouped: GroupedQueue) -> None:
    first, second = grouped.join(2)
    job = grouped.step(2).started[0]
    grouped.pass_time(5)
    resume_at = grouped.now + 1000
    assert rate_limit(grouped, job) == [PARKED, resume_at]
    assert grouped.wakes() == {"k": resume_at}
    assert grouped.parked() == [first, second]
    assert (grouped.active(), grouped.next_seq()) == (0, 2)
    job_hash = grouped.job(first)
    assert (job_hash["state"], job_hash["attemptsMade"]) == ("group-waiting", "0")
    assert grouped.entries() == []
    assert grouped.pending() == {}
    assert grouped.events()[-1] == {
        "event": "group-rate-limited",
        "jobId": first,
        "groupKey": "k",
        "duration": "1000",
        "resumeAt": str(resume_at),
    }
    assert "metrics:failed" not in grouped.suffixes()


def test_parked_job_goes_first_when_the_pause_is_over(grouped: GroupedQueue) -> None:
    first, second = grouped.join(2)
    rate_limit(grouped, grouped.step(2).started[0])
    stepped = grouped.step(2)
    assert (stepped.ids, stepped.next_due) == ([], grouped.now + 1000)
    grouped.pass_time(1000)
    (again,) = grouped.step(2).started
    assert (again.id, again.blob[5], grouped.active()) == (first, 0, 1)
    assert grouped.step(2, complete=[grouped.completion(again)]).ids == [second]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_nothing_of_a_paused_group_starts(grouped: GroupedQueue, concurrency: int) -> None:
    ids = grouped.join(4, concurrency=concurrency)
    jobs = grouped.start(min(concurrency, 2))
    rate_limit(grouped, jobs[0])
    # Neither what stands in the stream, nor what is added, nor what the end of another run would let go.
    late = grouped.join(2, concurrency=concurrency)
    plain = grouped.add()
    assert grouped.step(9, complete=[grouped.completion(job) for job in jobs[1:]]).ids == [plain]
    grouped.pass_time(999)
    assert grouped.step(9).ids == []
    grouped.pass_time(1)
    rest = [job_id for job_id in ids if job_id not in {job.id for job in jobs[1:]}]
    assert grouped.work_off() == rest + late
    assert grouped.active() == 0


def test_job_requeued_at_the_back_runs_after_all_that_were_added_before(grouped: GroupedQueue) -> None:
    ids = grouped.join(3)
    rate_limit(grouped, grouped.step(2).started[0], position="back")
    grouped.pass_time(1000)
    assert grouped.work_off() == [*ids[1:], ids[0]]
    assert (grouped.active(), grouped.next_seq()) == (0, 4)


def test_retry_that_asks_for_a_pause_is_parked_as_well(grouped: GroupedQueue) -> None:
    first, _ = grouped.join(2)
    grouped.fail(grouped.start_one(), max_attempts=3)
    job = grouped.start_one()
    rate_limit(grouped, job)
    assert grouped.field(first, "attemptsMade") == "1"
    grouped.pass_time(1000)
    assert grouped.step(2).ids == [first]


def test_list_job_leaves_the_active_ones(grouped: GroupedQueue) -> None:
    (first,) = grouped.join(own={"priority": 5})
    rate_limit(grouped, grouped.start_one())
    assert (grouped.list_active(), grouped.members("x-py:active:c1")) == (0, {})
    grouped.pass_time(1000)
    assert grouped.step(1).ids == [first]


def test_later_outcomes_of_the_parked_run_are_settled_already(grouped: GroupedQueue) -> None:
    grouped.join(2)
    job = grouped.step(2).started[0]
    rate_limit(grouped, job)
    before = grouped.snapshot()
    assert rate_limit(grouped, job, 9_000) == [ALREADY, grouped.now + 1000]
    assert grouped.complete(job) == [ALREADY]
    assert grouped.fail(job, max_attempts=3) == [[ALREADY, 0]]
    assert grouped.extend(job) == [ALREADY]
    assert grouped.recover_orphans() == []
    assert grouped.snapshot() == before


def test_outcome_of_the_parked_run_does_not_end_the_next_one(grouped: GroupedQueue) -> None:
    grouped.join()
    job = grouped.start_one()
    rate_limit(grouped, job)
    grouped.pass_time(1000)
    again = grouped.start_one()
    assert grouped.complete(job) == [LEASE_LOST]
    assert grouped.complete(again) == [1]


def test_current_job_fails_on_demand(grouped: GroupedQueue) -> None:
    first, second = grouped.join(2, own={"attempts": 5})
    job = grouped.step(2).started[0]
    grouped.pass_time(7)
    assert rate_limit(grouped, job, current="fail") == [DONE, grouped.now + 1000]
    job_hash = grouped.job(first)
    assert (job_hash["state"], job_hash["failedReason"]) == ("failed", "group rate limited")
    assert job_hash["attemptsMade"] == "0"
    assert grouped.events_of(first)[-2:] == ["group-rate-limited", "failed"]
    assert sorted(grouped.metrics("failed").values()) == [1, 7]
    assert grouped.active() == 0
    assert grouped.step(2).ids == []
    grouped.pass_time(1000)
    assert grouped.step(2).ids == [second]


def test_failed_job_is_removed_if_its_options_say_so(grouped: GroupedQueue) -> None:
    (first,) = grouped.join(own={"opts": '{"removeOnFail":true}'})
    rate_limit(grouped, grouped.start_one(), current="fail")
    assert grouped.job(first) == {}


@pytest.mark.parametrize(("extend", "resumed_after"), [("max", 5000), ("replace", 1000)])
def test_longer_pause_stays_unless_it_is_replaced(
    grouped: GroupedQueue, extend: str, resumed_after: int
) -> None:
    grouped.join(2, concurrency=2)
    one, two = grouped.start(2)
    began = grouped.now
    assert rate_limit(grouped, one, 5000) == [PARKED, began + 5000]
    assert rate_limit(grouped, two, 1000, extend=extend) == [PARKED, began + resumed_after]
    assert grouped.wakes() == {"k": began + resumed_after}
    assert grouped.events()[-1]["resumeAt"] == str(began + resumed_after)


def test_pause_lengthens_the_wait_for_a_limit(grouped: GroupedQueue) -> None:
    _, second = grouped.join(2, rate=(1, 500))
    job = grouped.step(2).started[0]
    (third,) = grouped.join(rate=(1, 500), own={"delay": 1})
    assert third
    assert rate_limit(grouped, job, 2000)[1] == grouped.now + 2000
    grouped.pass_time(1999)
    assert grouped.step(2).ids == []
    grouped.pass_time(1)
    assert grouped.step(2).ids == [job.id]
    assert second in grouped.parked()


def test_revoked_job_ends_as_revoked_and_the_pause_counts(grouped: GroupedQueue) -> None:
    (first,) = grouped.join()
    job = grouped.start_one()
    assert grouped.call("revoke", id=first) == [b"flagged"]
    assert rate_limit(grouped, job) == [FAILED, grouped.now + 1000]
    assert grouped.field(first, "failedReason") == "revoked"
    assert (grouped.active(), grouped.wakes()) == (0, {"k": grouped.now + 1000})


def test_paused_jobs_can_be_revoked_and_removed(grouped: GroupedQueue) -> None:
    first, second, third = grouped.join(3)
    rate_limit(grouped, grouped.step(2).started[0])
    grouped.step(4)
    assert grouped.call("revoke", id=first) == [b"revoked", False]
    assert grouped.call("remove", id=second) == [b"ok", False]
    assert grouped.step(4).ids == []
    grouped.pass_time(1000)
    assert grouped.step(4).ids == [third]
    assert grouped.active() == 1


def test_job_without_a_group_is_left_alone(grouped: GroupedQueue) -> None:
    grouped.add()
    job = grouped.start_one()
    before = grouped.snapshot()
    assert rate_limit(grouped, job) == [NO_GROUP, 0]
    assert grouped.snapshot() == before
    assert grouped.complete(job) == [1]


def test_foreign_lease_and_missing_job_pause_nothing(grouped: GroupedQueue) -> None:
    grouped.join()
    job = grouped.start_one()
    assert rate_limit(grouped, job._replace(token="x")) == [LEASE_LOST, 0]
    grouped.client.delete(grouped.key(f"job:{job.id}"))
    assert rate_limit(grouped, job) == [GONE, 0]
    assert grouped.wakes() == {}


def test_reply_tells_when_the_group_goes_on(grouped: GroupedQueue) -> None:
    grouped.join()
    job = grouped.start_one()
    row = [*job.fence, job.entry_id, 1000, "requeue", "front", "max"]
    assert grouped.call("rate_limit_group", rows=[row])[3] == grouped.now + 1000


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        (4, 0, b"row 1: duration_ms is out of range"),
        (4, 2**42, b"row 1: duration_ms is out of range"),
        (5, "retry", b"row 1: current, position or extend is unknown"),
        (6, "middle", b"row 1: current, position or extend is unknown"),
        (7, "min", b"row 1: current, position or extend is unknown"),
    ],
)
def test_malformed_rows_are_refused(grouped: GroupedQueue, column: int, value: Any, fault: bytes) -> None:
    row: list[Any] = ["1", "t", 5, "", 1000, "requeue", "front", "max"]
    row[column] = value
    assert grouped.call("rate_limit_group", rows=[row]) == [b"bad_argument", fault]


def test_spent_run_hears_of_no_pause_where_a_limit_keeps_the_group_waiting(grouped: GroupedQueue) -> None:
    grouped.join(2, concurrency=2, bucket=(1000, 1000))
    job = grouped.start_one()
    assert grouped.step(1).ids == []
    assert grouped.wakes(), "the second one waits for a token"
    grouped.complete(job)
    assert rate_limit(grouped, job) == [ALREADY, 0]
