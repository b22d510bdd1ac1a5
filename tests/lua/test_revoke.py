"""revoke: a job that nobody runs fails at once, a running one ends as revoked whatever its worker reports."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.revoke import RevocationStatus, RevokeCommand
from glidemq.errors import ServerError
from tests.interop.allowances import AFTER_COMPLETION
from tests.interop.differ import assert_same, read_keys
from tests.interop.loader import load_dump
from tests.interop.snapshot import load_case, rename_queues
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute_all
from tests.lua.families import add_parent
from tests.lua.raw_queue import RawQueue

REVOKED_CODE, FAILED_CODE = 7, 6


def revoke(driven: DrivenQueue, job_id: str = "1") -> tuple[RevocationStatus, int]:
    """The status, and the number of calls."""
    results = execute_all(driven, RevokeCommand(driven.key("meta"), job_id=job_id))
    assert {result.status for result in results} == {results[0].status}
    return results[0].status, len(results)


def assert_failed_as_revoked(driven: DrivenQueue, job_id: str = "1") -> None:
    job = driven.job(job_id)
    assert (job["state"], job["failedReason"], job["revoked"]) == ("failed", "revoked", "1")
    assert job["finishedOn"] == str(driven.now)
    assert driven.members("failed") == {job_id: driven.now}


# -- jobs that nobody runs


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"lifo": 1},
        {"delay": 1000},
        {"priority": 3},
        {"delay": 1000, "priority": 3},
        {"delay": 9, "lifo": 1},
    ],
)
def test_waiting_job_fails_and_leaves_its_place(driven: DrivenQueue, kind: dict[str, int]) -> None:
    driven.add(**kind)
    driven.add(**kind)
    assert revoke(driven) == ("revoked", 1)
    assert_failed_as_revoked(driven)
    driven.pass_time(10_000)
    assert driven.step(5).ids == ["2"]
    assert driven.events_of("1") == ["added", "revoked"]
    assert "metrics:failed" not in driven.suffixes()


def test_prioritized_job_in_the_priority_list_fails_once(driven: DrivenQueue) -> None:
    driven.add(priority=3)
    driven.promote_due()
    assert driven.elements("priority") == ["1"]
    assert revoke(driven) == ("revoked", 1)
    assert driven.elements("priority") == []
    assert_failed_as_revoked(driven)


def test_job_given_back_fails_and_its_entry_is_not_pending_any_more(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    driven.release(*driven.start(2))
    assert revoke(driven) == ("revoked", 1)
    assert len(driven.pending()) == 1
    assert driven.entries() == ["2"]
    assert_failed_as_revoked(driven)


def test_suspended_job_fails_and_leaves_its_set(driven: DrivenQueue) -> None:
    driven.add_scored("suspended", "1", 9999999999999, state="suspended", suspendedAt=1)
    driven.add_scored("suspended", "2", 9999999999999, state="suspended", suspendedAt=1)
    assert revoke(driven) == ("revoked", 1)
    assert list(driven.members("suspended")) == ["2"]
    assert_failed_as_revoked(driven)


def test_parent_that_waits_for_its_children_fails_and_is_not_woken_by_them(driven: DrivenQueue) -> None:
    driven.hash("p", state="waiting-children")
    driven.add(parent="p", parent_queue=driven.name)
    assert revoke(driven, "p") == ("revoked", 1)
    assert_failed_as_revoked(driven, "p")
    driven.complete(driven.start_one())
    assert driven.state("p") == "failed"
    assert driven.entries() == []


def test_parked_job_lets_the_next_of_its_group_go(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("group:k"), mapping={"maxConcurrency": 1, "active": 0, "nextSeq": 2})
    driven.client.hset(driven.key("ordering"), "k", 3)
    for seq in (2, 3):
        own = {"groupKey": "k", "orderingSeq": seq}
        driven.add_scored("groupq:k", str(seq), seq, state="group-waiting", **own)
    assert revoke(driven, "2") == ("revoked", 1)
    assert_failed_as_revoked(driven, "2")
    assert driven.members("groupq:k") == {}
    assert driven.step(2).ids == ["3"]


@pytest.mark.parametrize(("next_seq", "skipped"), [(1, True), (3, False)])
def test_only_a_sequence_that_never_started_is_skipped(
    driven: DrivenQueue, next_seq: int, skipped: bool
) -> None:
    driven.client.hset(driven.key("group:k"), mapping={"nextSeq": next_seq})
    driven.client.hset(driven.key("ordering"), "k", 2)
    driven.add_waiting("2", groupKey="k", orderingSeq=2)
    revoke(driven, "2")
    assert driven.client.hexists(driven.key("group:k"), "skip:2") == skipped
    assert driven.members("ratelimited") == {}


def test_revoking_twice_says_the_same_and_changes_nothing(driven: DrivenQueue) -> None:
    driven.add()
    revoke(driven)
    before = driven.snapshot()
    driven.pass_time(1000)
    assert revoke(driven) == ("revoked", 1)
    assert driven.snapshot() == before


def test_missing_job_is_not_found_and_nothing_is_written(driven: DrivenQueue) -> None:
    assert revoke(driven) == ("not_found", 1)
    driven.client.hset(driven.key("job:1"), "lastActive", "1")
    assert revoke(driven) == ("not_found", 1)
    assert driven.suffixes() == ["job:1"]


# -- the entry in a long stream


def fill(driven: DrivenQueue, number: int, entry_ms: int) -> None:
    pipeline = driven.client.pipeline(transaction=False)
    for index in range(number):
        pipeline.xadd(driven.key("stream"), {"jobId": f"x{index}", "name": "n"}, id=f"{entry_ms}-*")
    pipeline.execute()


def test_promoted_job_is_looked_for_behind_its_due_time(driven: DrivenQueue) -> None:
    fill(driven, 6000, 10_000)
    driven.add_waiting("1", entry_ms=20_500, timestamp=1_000, delay=19_500)
    assert revoke(driven) == ("revoked", 1)
    assert "1" not in driven.entries()


def test_entry_far_away_is_found_in_bounded_calls_and_the_job_has_failed_after_the_first(
    driven: DrivenQueue,
) -> None:
    driven.add_waiting("1", entry_ms=10_000, timestamp=20_000)
    fill(driven, 6000, 20_000)
    reply = driven.call("revoke", id="1")
    assert reply[0] == b"revoked" and reply[1]
    assert_failed_as_revoked(driven)
    resume, calls = reply[1], 1
    while resume:
        resume = driven.call("revoke", id="1", resume=resume)[1]
        calls += 1
    assert calls == 4
    assert driven.entries().count("1") == 0
    assert driven.events_of("1") == ["revoked"]


def test_entry_left_behind_is_dropped_without_a_second_failure(driven: DrivenQueue) -> None:
    driven.add_waiting("1", entry_ms=10_000, timestamp=20_000)
    fill(driven, 2500, 20_000)
    assert driven.call("revoke", id="1")[1]
    before = driven.job("1")
    assert driven.step(1).ids == []
    assert driven.job("1") == before
    assert "1" not in driven.entries()


def test_search_stops_when_the_job_was_retried_meanwhile(driven: DrivenQueue) -> None:
    driven.add_waiting("1", entry_ms=10_000, timestamp=20_000)
    fill(driven, 2500, 20_000)
    _, resume = driven.call("revoke", id="1")
    driven.call("retry_job", id="1")
    driven.promote_due()
    assert driven.call("revoke", id="1", resume=resume) == [b"revoked", False]
    assert driven.entries().count("1") == 2


@pytest.mark.parametrize("resume", [[["-"]], [7], ["x", "y"]])
def test_a_resume_of_foreign_making_is_refused(driven: DrivenQueue, resume: list[Any]) -> None:
    reply = driven.call("revoke", id="1", resume=resume)
    assert reply[0] == b"bad_argument"
    with pytest.raises(ServerError, match="resume must come from an earlier reply"):
        RevokeCommand("k", job_id="1").parse_reply(reply)


# -- running jobs


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}, {"priority": 3}])
def test_running_job_is_flagged_and_its_next_heartbeat_says_so(
    driven: DrivenQueue, kind: dict[str, int]
) -> None:
    driven.add(**kind)
    job = driven.start_one()
    assert driven.extend(job) == [1]
    assert revoke(driven) == ("flagged", 1)
    assert (driven.state("1"), driven.field("1", "revoked")) == ("active", "1")
    assert driven.events_of("1")[-1] == "revoked"
    assert driven.extend(job) == [REVOKED_CODE]


def assert_run_ended_as_revoked(driven: DrivenQueue) -> None:
    job = driven.job("1")
    assert (job["state"], job["failedReason"], job["attemptsMade"]) == ("failed", "revoked", "1")
    assert job["finishedOn"] == job["processedOn"] == str(driven.now)
    assert "returnvalue" not in job
    assert driven.events()[-1] == {"event": "failed", "jobId": "1", "failedReason": "revoked"}
    assert "completed" not in driven.suffixes()
    assert driven.entries() == [] and driven.pending() == {} and driven.list_active() == 0
    assert driven.client.hvals(driven.key("metrics:failed"))[0] == b"1"


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}])
def test_completion_of_a_revoked_job_fails_it(driven: DrivenQueue, kind: dict[str, int]) -> None:
    driven.add(**kind)
    job = driven.start_one()
    revoke(driven)
    driven.pass_time(50)
    assert driven.complete(job, value='"done"', consumer="c1") == [FAILED_CODE]
    assert_run_ended_as_revoked(driven)
    assert driven.complete(job, value='"done"') == [2]


def test_children_that_were_revoked_do_not_count_as_completed(driven: DrivenQueue) -> None:
    driven.hash("p", state="active")
    driven.add(parent="p", parent_queue=driven.name)
    job = driven.start_one()
    revoke(driven)
    assert driven.complete(job) == [FAILED_CODE]
    assert driven.field("p", "depsCompleted") is None


def test_failure_of_a_revoked_job_is_not_retried_and_keeps_the_reason(driven: DrivenQueue) -> None:
    driven.add(attempts=5)
    job = driven.start_one()
    revoke(driven)
    driven.pass_time(50)
    assert driven.fail(job, reason="boom", max_attempts=5, delay=1000) == [[FAILED_CODE, 1]]
    assert_run_ended_as_revoked(driven)
    assert driven.fail(job, reason="boom", max_attempts=5) == [[2, 1]]


@pytest.mark.parametrize("crash", [False, "SIGKILL", True])
def test_revoked_job_that_is_given_back_does_not_wait_again(driven: DrivenQueue, crash: Any) -> None:
    driven.add()
    job = driven.start_one()
    revoke(driven)
    driven.pass_time(50)
    assert driven.release(job, crash=crash) == [FAILED_CODE]
    assert_run_ended_as_revoked(driven)
    assert driven.field("1", "x-py:crashes") is None


def test_revoked_job_of_a_dead_host_does_not_run_again(driven: DrivenQueue) -> None:
    driven.add()
    driven.start_one()
    revoke(driven)
    driven.pass_time(60_000)
    assert driven.recover_stalled(max_stalled=5) == {"1": "failed"}
    assert driven.field("1", "failedReason") == "revoked"
    assert driven.step(1).ids == []


def test_revoked_job_whose_start_was_lost_fails_instead_of_starting(driven: DrivenQueue) -> None:
    driven.add()
    driven.start_one(consumer="c1")
    revoke(driven)
    assert driven.recover_orphans(consumer="c1") == ["1"]
    assert driven.step(1).ids == []
    assert (driven.state("1"), driven.field("1", "failedReason")) == ("failed", "revoked")


@pytest.mark.parametrize("ending", ["complete", "release"])
def test_end_of_a_revoked_job_follows_its_own_retention(driven: DrivenQueue, ending: str) -> None:
    driven.add(opts='{"removeOnFail":true}')
    job = driven.start_one()
    revoke(driven)
    if ending == "complete":
        driven.complete(job, retain=5)
    else:
        driven.release(job)
    assert driven.job("1") == {}
    assert driven.members("failed") == {}


# -- finished jobs


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_finished_job_stays_as_it_is_but_is_flagged(driven: DrivenQueue, state: str) -> None:
    driven.add()
    job = driven.start_one()
    if state == "completed":
        driven.complete(job)
    else:
        driven.fail(job)
    before = driven.job("1")
    driven.pass_time(1000)
    assert revoke(driven) == ("flagged", 1)
    assert driven.job("1") == {**before, "revoked": "1"}
    assert driven.members(state) == {"1": driven.now - 1000}


# -- beside Node


@pytest.fixture
def node_at_work(queue: RawQueue) -> DrivenQueue:
    """Node's recording of a revoked job, with the job still waiting."""
    load_dump(queue.client, "revoked", queue.name, moment="while_job_1_is_active")
    client: Any = queue.client
    client.hset(queue.key("job:2"), "state", "waiting")
    client.hdel(queue.key("job:2"), "revoked", "failedReason", "finishedOn")
    client.xadd(queue.key("stream"), {"jobId": "2", "name": "rev"}, id="1795313098869-0")
    client.delete(queue.key("failed"))
    [last] = client.xrevrange(queue.key("events"), count=1)
    client.xdel(queue.key("events"), last[0])
    return DrivenQueue(client, queue.name, lambda *_, **__: [])


def test_revoking_a_waiting_job_of_node_leaves_what_node_leaves(
    call: Call, queue: RawQueue, node_at_work: DrivenQueue
) -> None:
    assert call("revoke", queue.name, id="2", now=1795313098870)[0] == b"revoked"
    recorded = load_case("revoked").snapshots["while_job_1_is_active"]
    expected = rename_queues(recorded, {"act": queue.name}, "glide")
    assert_same(expected, read_keys(queue.client, [queue.name]), allowed=AFTER_COMPLETION)


def test_job_that_node_runs_is_flagged(call: Call, queue: RawQueue, node_at_work: DrivenQueue) -> None:
    assert call("revoke", queue.name, id="1", now=1795313098900) == [b"flagged"]
    assert queue.field("1", "state") == "active"
    assert len(queue.pending()) == 1


def test_parent_that_fails_of_a_revoked_child_counts_as_failed_and_the_child_does_not(
    driven: DrivenQueue,
) -> None:
    add_parent(driven, "p", "c")
    assert driven.call("revoke", id="c") == [b"revoked", False]
    assert (driven.state("c"), driven.state("p")) == ("failed", "failed")
    assert driven.client.hvals(driven.key("metrics:failed"))[0] == b"1"
