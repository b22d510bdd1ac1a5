"""gmq_fail: a failed run is tried again later, at once, or never."""

from __future__ import annotations

import pytest

from tests.lua.driven_queue import START_MS, DrivenQueue, Started

SHIFT = 2**42
MINUTE = START_MS - START_MS % 60_000


def test_retry_waits_in_the_sorted_set(driven: DrivenQueue) -> None:
    driven.add(attempts=3)
    job = driven.start_one()
    driven.pass_time(10)
    assert driven.fail(job, reason="boom", max_attempts=3, delay=100) == [[5, 1]]
    stored = driven.job("1")
    assert (stored["state"], stored["failedReason"], stored["attemptsMade"]) == ("delayed", "boom", "1")
    assert stored["processedOn"] == str(driven.now)
    assert stored["x-py:started"] == f"{driven.now}:{driven.now - 10}"
    assert "finishedOn" not in stored
    assert driven.members("scheduled") == {"1": driven.now + 100}
    assert driven.entries() == []
    assert driven.pending() == {}
    assert driven.events()[-1] == {
        "event": "retrying",
        "jobId": "1",
        "failedReason": "boom",
        "attemptsMade": "1",
        "delay": "100",
    }


def test_reply_tells_the_queues_next_due_time(driven: DrivenQueue) -> None:
    driven.add(delay=50)
    driven.add()
    job = driven.start_one()
    row = [*job.fence, job.entry_id, "boom", 3, 100, False]
    assert driven.call("fail", rows=[row])[3] == START_MS + 50


def test_retry_of_a_prioritized_job_keeps_its_class(driven: DrivenQueue) -> None:
    driven.add(priority=7)
    job = driven.start_one()
    driven.fail(job, max_attempts=2, delay=100)
    assert driven.members("scheduled") == {"1": 7 * SHIFT + driven.now + 100}
    assert driven.list_active() == 0


def test_retry_without_delay_is_ready_at_once(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    assert driven.fail(job, max_attempts=2) == [[5, 1]]
    assert driven.state("1") == "waiting"
    assert driven.events_of("1") == ["added", "retrying", "promoted"]
    again = driven.start_one()
    assert (again.id, again.blob[5]) == ("1", 1)
    assert again.extras["failedReason"] == "boom"


def test_lifo_retry_without_delay_goes_to_its_list_and_rings(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    before = driven.rings()
    driven.fail(driven.start_one(), max_attempts=2)
    assert driven.elements("lifo") == ["1"]
    assert driven.rings() == before + 1


def test_prioritized_retry_without_delay_does_not_overtake_the_more_urgent(driven: DrivenQueue) -> None:
    driven.add(priority=5)
    job = driven.start_one()
    urgent = driven.add(priority=1)
    driven.fail(job, max_attempts=2)
    assert driven.members("scheduled")[job.id] == 5 * SHIFT + driven.now
    assert driven.step(2).ids == [urgent, job.id]


def test_attempts_count_all_runs(driven: DrivenQueue) -> None:
    driven.add()
    assert driven.fail(driven.start_one(), max_attempts=2) == [[5, 1]]
    assert driven.fail(driven.start_one(), max_attempts=2) == [[6, 2]]


@pytest.mark.parametrize("max_attempts", [0, 1])
def test_one_attempt_is_the_end(driven: DrivenQueue, max_attempts: int) -> None:
    driven.add()
    job = driven.start_one()
    driven.pass_time(5)
    assert driven.fail(job, reason="no luck", max_attempts=max_attempts) == [[6, 1]]
    stored = driven.job("1")
    assert (stored["state"], stored["failedReason"]) == ("failed", "no luck")
    assert stored["finishedOn"] == stored["processedOn"] == str(driven.now)
    assert stored["x-py:started"] == f"{driven.now}:{driven.now - 5}"
    assert driven.members("failed") == {"1": driven.now}
    assert driven.metrics("failed") == {f"m:{MINUTE}:c": 1, f"m:{MINUTE}:d": 5}
    assert driven.events()[-1] == {"event": "failed", "jobId": "1", "failedReason": "no luck"}
    assert driven.entries() == []


def test_list_job_leaves_the_active_ones(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    job = driven.start_one()
    driven.fail(job)
    assert driven.list_active() == 0
    assert driven.members("x-py:active:c1") == {}


def test_fallback_chain_moves_on_with_each_retry(driven: DrivenQueue) -> None:
    driven.add(opts='{"attempts":3,"fallbacks":[{"model":"m"}]}')
    for index in ("1", "2"):
        driven.fail(driven.start_one(), max_attempts=3)
        assert driven.field("1", "fallbackIndex") == index
    driven.fail(driven.start_one(), max_attempts=3)
    assert driven.field("1", "fallbackIndex") == "2"


def test_fallback_that_follows_other_errors_is_passed_over(driven: DrivenQueue) -> None:
    chain = '[{"model":"a","x-py:on":["Busy"]},{"model":"b","x-py:on":["Broken","Gone"]},{"model":"c"}]'
    driven.add(opts=f'{{"attempts":9,"fallbacks":{chain}}}')
    for names, index in ((["Other", "Gone"], "2"), (["Busy"], "3"), (["Busy"], "3")):
        job = driven.start_one()
        row = [*job.fence, job.entry_id, "boom", 9, 0, False, "", names]
        assert driven.call("fail", rows=[row])[2][0][0] == 5
        assert driven.field("1", "fallbackIndex") == index


def test_job_without_fallbacks_gets_no_index(driven: DrivenQueue) -> None:
    driven.add()
    driven.fail(driven.start_one(), max_attempts=3)
    assert driven.field("1", "fallbackIndex") is None


def test_repeated_failure_counts_once(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.fail(job, max_attempts=3, delay=100)
    before = driven.snapshot()
    assert driven.fail(job, max_attempts=3, delay=100) == [[2, 1]]
    assert driven.snapshot() == before


def test_foreign_lease_and_missing_job_change_nothing(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    before = driven.snapshot()
    assert driven.fail(job._replace(token="x"), max_attempts=3) == [[4, 0]]
    assert driven.snapshot() == before
    driven.client.delete(driven.key("job:1"))
    assert driven.fail(job) == [[3, 0]]
    assert driven.entries() == []
    assert "job:1" not in driven.suffixes()


@pytest.mark.parametrize(("retain", "left"), [(True, []), (1, ["2"]), (False, ["1", "2"])])
def test_retention_of_failed_jobs(driven: DrivenQueue, retain: bool | int, left: list[str]) -> None:
    for _ in range(2):
        driven.add()
        driven.fail(driven.start_one(), retain=retain)
        driven.pass_time(1)
    assert list(driven.members("failed")) == left


def test_retention_does_not_touch_a_job_that_is_tried_again(driven: DrivenQueue) -> None:
    driven.add()
    driven.fail(driven.start_one(), max_attempts=2, retain=True)
    assert driven.state("1") == "waiting"


def test_reason_survives_a_later_success(driven: DrivenQueue) -> None:
    driven.add()
    driven.fail(driven.start_one(), max_attempts=2)
    driven.complete(driven.start_one())
    assert driven.field("1", "failedReason") == "boom"
    assert driven.members("failed") == {}


def test_malformed_rows_are_refused(driven: DrivenQueue) -> None:
    assert driven.call("fail", rows=[["1", "t", 5]])[0] == b"bad_argument"


def test_row_under_a_spent_token_is_settled_whatever_became_of_the_job(driven: DrivenQueue) -> None:
    driven.add(attempts=5)
    first = driven.start_one()
    driven.fail(first, max_attempts=5)
    again = driven.start_one()
    row = [first.id, "-" + first.token, first.processed_on, first.entry_id, "late", 5, 0, False]
    before = driven.snapshot()
    assert driven.call("fail", rows=[row])[2] == [[2, 1]]
    assert driven.snapshot() == before
    assert driven.complete(again) == [1]


def put_off(driven: DrivenQueue, job: Started, delay_ms: int = 500) -> list[int]:
    row = [*job.fence, job.entry_id, "rate limited", -1, delay_ms, False]
    outcome: list[int] = driven.call("fail", rows=[row])[2][0]
    return outcome


def test_job_that_is_put_off_is_not_charged(driven: DrivenQueue) -> None:
    driven.add(attempts=1, opts='{"fallbacks":[{"model":"b"}]}')
    job = driven.start_one()
    assert put_off(driven, job) == [9, 0]
    stored = driven.job("1")
    assert (stored["state"], stored["attemptsMade"], stored["processedOn"]) == (
        "delayed",
        "0",
        str(driven.now),
    )
    assert not {"fallbackIndex", "failedReason"} & set(stored), "nothing has failed"
    assert driven.members("scheduled") == {"1": driven.now + 500}
    assert driven.events()[-1] == {
        "event": "retrying", "jobId": "1", "failedReason": "rate limited", "attemptsMade": "0", "delay": "500",
    }  # fmt: skip
    assert put_off(driven, job) == [2, 0], "the token is spent"
    driven.pass_time(500)
    assert driven.start_one().blob[5] == 0


def test_reason_of_an_earlier_failure_stays_when_a_job_is_put_off(driven: DrivenQueue) -> None:
    driven.add(attempts=2)
    driven.fail(driven.start_one(), reason="boom", max_attempts=2)
    put_off(driven, driven.start_one())
    assert driven.field("1", "failedReason") == "boom"


def test_revoked_job_is_not_put_off(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.call("revoke", id="1")
    assert put_off(driven, job)[0] == 6
    assert driven.field("1", "failedReason") == "revoked"


def test_attempts_left_are_the_same_after_a_job_was_put_off(driven: DrivenQueue) -> None:
    driven.add(attempts=2)
    for expected in ([9, 0], [5, 1], [9, 1]):
        job = driven.start_one()
        if expected[0] == 9:
            assert put_off(driven, job, 1) == expected
        else:
            assert driven.fail(job, max_attempts=2) == [expected]
        driven.pass_time(1)
    assert driven.fail(driven.start_one(), max_attempts=2) == [[6, 2]]
