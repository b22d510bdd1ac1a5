"""retry_jobs: failed jobs run again, oldest failure first, in bounded rounds."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.retry_jobs import RetryJobsCommand
from glidemq.errors import ServerError, ValidationError
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute_all

SHIFT = 2**42


def fail_jobs(driven: DrivenQueue, number: int, **fields: Any) -> None:
    """Jobs 1..number, one failure a millisecond."""
    pipeline = driven.client.pipeline(transaction=False)
    for index in range(1, number + 1):
        counters = {"attemptsMade": 3, "priority": 0, "failedReason": "boom", "finishedOn": 5}
        job = {"id": index, "name": "n", "state": "failed", **counters, **fields}
        pipeline.hset(driven.key(f"job:{index}"), mapping=job)
        pipeline.zadd(driven.key("failed"), {str(index): driven.now - number + index})
    pipeline.execute()


def retry(driven: DrivenQueue, count: int = 0) -> tuple[int, int]:
    """The number of jobs retried, and of calls."""
    results = execute_all(driven, RetryJobsCommand(driven.key("meta"), count=count))
    return results[-1].retried, len(results)


def test_all_failed_jobs_run_again_in_the_order_of_their_failures(driven: DrivenQueue) -> None:
    fail_jobs(driven, 3)
    assert retry(driven) == (3, 2)
    assert driven.members("failed") == {}
    assert driven.members("scheduled") == {str(number): driven.now for number in (1, 2, 3)}
    assert {driven.state(job_id) for job_id in "123"} == {"delayed"}
    assert driven.field("1", "attemptsMade") == "0"
    assert driven.events() == [{"event": "retried", "jobId": "3"}]
    assert driven.step(5).ids == ["1", "2", "3"]


def test_only_as_many_as_asked_for_oldest_first(driven: DrivenQueue) -> None:
    fail_jobs(driven, 5)
    assert retry(driven, 2)[0] == 2
    assert list(driven.members("failed")) == ["3", "4", "5"]
    assert driven.events() == [{"event": "retried", "jobId": "2"}]


def test_jobs_keep_their_priority(driven: DrivenQueue) -> None:
    fail_jobs(driven, 1, priority=7)
    retry(driven)
    assert driven.members("scheduled") == {"1": 7 * SHIFT + driven.now}


def test_many_jobs_take_bounded_rounds_and_one_event(driven: DrivenQueue) -> None:
    fail_jobs(driven, 1200)
    status, retried, _ = driven.call("retry_jobs", count=False)
    assert (status, retried) == (b"more", 500)
    assert driven.events() == []
    assert retry(driven) == (700, 3)
    assert driven.client.zcard(driven.key("scheduled")) == 1200
    assert driven.events() == [{"event": "retried", "jobId": "700"}]


def test_jobs_that_fail_again_meanwhile_are_left(driven: DrivenQueue) -> None:
    fail_jobs(driven, 501)
    _, retried, before = driven.call("retry_jobs", count=False)
    driven.pass_time(100)
    driven.fail(*driven.start(10))
    status, retried, before = driven.call("retry_jobs", count=False, before=before, retried=retried)
    assert (status, retried) == (b"more", 501)
    assert driven.call("retry_jobs", count=False, before=before, retried=retried) == [b"done", 501]
    assert len(driven.members("failed")) == 10


def test_traces_of_jobs_that_live_elsewhere_or_are_gone_are_removed_and_not_counted(
    driven: DrivenQueue,
) -> None:
    fail_jobs(driven, 4)
    driven.client.delete(driven.key("job:1"))
    driven.client.hset(driven.key("job:2"), "state", "active")
    assert retry(driven, 2)[0] == 2
    assert driven.members("failed") == {}
    assert driven.state("1") is None and driven.state("2") == "active"
    assert set(driven.members("scheduled")) == {"3", "4"}


def test_nothing_failed_is_nothing_to_do(driven: DrivenQueue) -> None:
    assert retry(driven) == (0, 1)
    assert driven.suffixes() == []


@pytest.mark.parametrize("count", [-1, 1.5, True, "3"])
def test_count_must_be_a_non_negative_integer(count: Any) -> None:
    with pytest.raises(ValidationError, match=r"^count must be a non-negative integer$"):
        RetryJobsCommand("k", count=count)


def test_an_answer_of_another_kind_is_a_defect() -> None:
    with pytest.raises(ServerError):
        RetryJobsCommand("k").parse_reply([b"bad_argument", b"x"])
