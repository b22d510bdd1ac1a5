"""retry_job: a failed job gets all its attempts once more; any other job is left alone."""

from __future__ import annotations

import pytest

from glidemq.commands.retry_job import RetryJobCommand
from glidemq.errors import JobNotFoundError, JobStateError
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute

SHIFT = 2**42


def retry(driven: DrivenQueue, job_id: str = "1") -> None:
    execute(driven, RetryJobCommand(driven.key("meta"), job_id=job_id))


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}, {"priority": 4}])
def test_failed_job_is_due_at_once_and_has_all_its_attempts(
    driven: DrivenQueue, kind: dict[str, int]
) -> None:
    driven.add(attempts=2, **kind)
    driven.fail(driven.start_one(), max_attempts=2, delay=10)
    driven.pass_time(10)
    driven.fail(driven.start_one(), max_attempts=2)
    driven.pass_time(500)
    rings, events = driven.rings(), driven.events()
    retry(driven)
    assert driven.members("failed") == {}
    assert driven.members("scheduled") == {"1": kind.get("priority", 0) * SHIFT + driven.now}
    job = driven.job("1")
    assert (job["state"], job["attemptsMade"], job["failedReason"], job["finishedOn"]) == (
        "delayed",
        "0",
        "",
        "",
    )
    assert driven.rings() == rings + 1
    assert driven.events() == events
    again = driven.start_one()
    assert again.id == "1"
    assert driven.fail(again, max_attempts=2, delay=10) == [[5, 1]]


def test_job_that_killed_its_processes_is_counted_anew_and_runs_alone(driven: DrivenQueue) -> None:
    driven.add()
    for _ in range(2):
        driven.release(driven.start_one(), crash="SIGSEGV", max_crashes=3)
    driven.release(driven.start_one(), crash="SIGSEGV", max_crashes=3)
    assert driven.state("1") == "failed"
    retry(driven)
    again = driven.start_one()
    assert again.flags & 4
    assert driven.release(again, crash="SIGSEGV", max_crashes=3) == [1]


def test_revocation_outlasts_a_retry(driven: DrivenQueue) -> None:
    driven.add()
    driven.call("revoke", id="1")
    retry(driven)
    assert driven.step(1).ids == []
    assert (driven.state("1"), driven.field("1", "failedReason")) == ("failed", "revoked")


@pytest.mark.parametrize("state", ["waiting", "active", "completed"])
def test_job_that_has_not_failed_is_refused(driven: DrivenQueue, state: str) -> None:
    driven.add()
    if state != "waiting":
        job = driven.start_one()
        if state == "completed":
            driven.complete(job)
    before = driven.snapshot()
    with pytest.raises(JobStateError, match=r"^Cannot retry: not_failed$"):
        retry(driven)
    assert driven.snapshot() == before


def test_missing_job_is_not_found(driven: DrivenQueue) -> None:
    with pytest.raises(JobNotFoundError, match=r"^Cannot retry: not_found$"):
        retry(driven)
    assert driven.suffixes() == []
