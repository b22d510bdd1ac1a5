"""gmq_release: jobs go back where they stood, uncharged; only crashes are counted."""

from __future__ import annotations

import pytest

from tests.lua.driven_queue import DrivenQueue


def test_unstarted_jobs_return_in_front_and_in_order(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row() for _ in range(5)])
    jobs = driven.start(3)
    assert driven.release(*jobs) == [1, 1, 1]
    assert driven.step(4, consumer="c2").ids == ["1", "2", "3", "4"]


def test_more_urgent_jobs_start_before_those_that_returned(driven: DrivenQueue) -> None:
    """A blocking read claims what comes while the queue is paused; that goes back, and must not get ahead by it."""
    driven.enqueue(driven.row(), driven.row())
    driven.release(driven.start_one())
    driven.enqueue(driven.row(lifo=1), driven.row(priority=7))
    assert driven.step(9).ids == ["4", "3", "1", "2"]


def test_returned_job_waits_and_shows_no_run(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.release(job)
    stored = driven.job("1")
    assert (stored["state"], stored["attemptsMade"]) == ("waiting", "0")
    assert "processedOn" not in stored
    assert "lastActive" not in stored
    assert driven.pending() == {job.entry_id: "py-returned"}
    assert driven.events_of("1") == ["added"]


def test_returned_entry_belongs_to_whoever_starts_it(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.release(job)
    again = driven.start_one(consumer="c2")
    assert again.entry_id == job.entry_id
    assert again.token != job.token
    assert driven.pending() == {job.entry_id: "c2"}
    assert driven.complete(again) == [1]
    assert driven.entries() == []


def test_former_holder_is_refused_once_somebody_else_runs_the_job(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.release(job)
    driven.pass_time(1)
    driven.start_one(consumer="c2")
    before = driven.snapshot()
    assert driven.complete(job) == [4]
    assert driven.fail(job) == [[4, 0]]
    assert driven.release(job) == [4]
    assert driven.extend(job) == [4]
    assert driven.snapshot() == before


@pytest.mark.parametrize("kind", [{"lifo": 1}, {"priority": 5}])
def test_list_jobs_return_to_the_end_that_is_popped_next(driven: DrivenQueue, kind: dict[str, int]) -> None:
    driven.enqueue(*[driven.row(**kind) for _ in range(3)])
    jobs = driven.start(2)
    driven.release(*jobs)
    assert driven.list_active() == 0
    assert driven.members("x-py:active:c1") == {}
    assert driven.step(2, consumer="c2").ids == [job.id for job in jobs]


def test_returned_list_job_rings_the_bell(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    job = driven.start_one()
    before = driven.rings()
    driven.release(job)
    assert driven.rings() == before + 1


def test_repeated_release_changes_nothing(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.release(job, crash="SIGSEGV")
    before = driven.snapshot()
    assert driven.release(job, crash="SIGSEGV") == [2]
    assert driven.snapshot() == before


def test_crash_is_counted_and_costs_no_attempt(driven: DrivenQueue) -> None:
    driven.add()
    assert driven.release(driven.start_one(), crash="SIGSEGV") == [1]
    again = driven.start_one()
    assert again.flags == 4
    assert again.extras["x-py:crashes"] == "1"
    assert driven.field("1", "attemptsMade") == "0"


def test_third_crash_is_the_end(driven: DrivenQueue) -> None:
    driven.add()
    for _ in range(2):
        assert driven.release(driven.start_one(), crash="SIGSEGV") == [1]
    last = driven.start_one()
    driven.pass_time(20)
    assert driven.release(last, crash="SIGSEGV") == [6]
    stored = driven.job("1")
    assert stored["failedReason"] == "worker process killed by SIGSEGV 3 times"
    assert (stored["state"], stored["attemptsMade"]) == ("failed", "0")
    assert driven.members("failed") == {"1": driven.now}
    assert driven.entries() == []
    assert driven.events()[-1]["event"] == "failed"


def test_single_crash_allowed_reads_well(driven: DrivenQueue) -> None:
    driven.add()
    driven.release(driven.start_one(), crash="SIGKILL", max_crashes=1)
    assert driven.field("1", "failedReason") == "worker process killed by SIGKILL 1 time"


def test_crashed_list_job_leaves_the_active_ones_at_the_end(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    driven.release(driven.start_one(), crash="SIGABRT", max_crashes=1)
    assert driven.list_active() == 0
    assert driven.elements("lifo") == []


def test_poison_job_honours_its_own_retention(driven: DrivenQueue) -> None:
    driven.add(opts='{"removeOnFail":true}')
    driven.release(driven.start_one(), crash="SIGSEGV", max_crashes=1)
    assert driven.job("1") == {}
    assert driven.members("failed") == {}


def test_suspect_is_marked_and_not_charged(driven: DrivenQueue) -> None:
    driven.add()
    assert driven.release(driven.start_one(), crash=True, max_crashes=1) == [1]
    again = driven.start_one()
    assert again.flags == 4
    assert again.extras["x-py:crashes"] == "0"


def test_suspicion_does_not_wipe_out_counted_crashes(driven: DrivenQueue) -> None:
    driven.add()
    driven.release(driven.start_one(), crash="SIGSEGV")
    driven.release(driven.start_one(), crash=True)
    assert driven.field("1", "x-py:crashes") == "1"


def test_tail_makes_an_ordinary_entry_at_the_end(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row("a"), driven.row("b"))
    job = driven.start_one()
    assert driven.release(job, tail=True) == [1]
    assert driven.entries() == ["2", "1"]
    assert driven.pending() == {}
    assert driven.client.xrange(driven.key("stream"))[1][1] == {b"jobId": b"1", b"name": b"a"}
    assert driven.state("1") == "waiting"


def test_removed_job_only_loses_its_entry(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.client.delete(driven.key("job:1"))
    assert driven.release(job) == [3]
    assert driven.entries() == []
    assert driven.job("1") == {}
