"""What a child's end means for its parent: each policy, each way of ending, up the tree; no parent ever hangs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lua.driven_queue import DrivenQueue
from tests.lua.families import add_flow, add_parent, carry, leaf, letters, member, parent_row

POLICIES = (None, "fail_parent", "ignore", "remove", "continue")


def fail_child(driven: DrivenQueue, reason: str = "boom") -> str:
    """Start and fail the next job; its id."""
    job = driven.start_one()
    driven.fail(job, reason=reason)
    return job.id


@pytest.mark.parametrize("policy", [None, "fail_parent", "no such policy"])
def test_by_default_a_failed_child_fails_its_parent_at_once(driven: DrivenQueue, policy: str | None) -> None:
    add_parent(driven, "p", "a", "b", on_failure=policy)
    fail_child(driven)
    assert driven.state("p") == "failed"
    assert driven.field("p", "failedReason") == f"child {member(driven, 'a')} failed: boom"
    assert driven.field("p", "finishedOn") == str(driven.now)
    assert set(driven.members("failed")) == {"a", "p"}
    assert driven.events_of("p") == ["added", "failed"]
    assert driven.members("x-py:parents") == {}
    # The other child goes on, and nobody waits for it.
    driven.complete(driven.start_one())
    assert driven.state("p") == "failed" and driven.entries() == []


def test_an_ignored_failure_counts_as_done_and_is_told(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a", "b", on_failure="ignore")
    fail_child(driven)
    assert driven.state("p") == "waiting-children"
    assert driven.field("p", "depsCompleted") == "1"
    assert driven.field("p", f"x-py:depfailed:{member(driven, 'a')}") == "boom"
    driven.complete(driven.start_one())
    assert driven.state("p") == "waiting"
    assert driven.start_one().id == "p"


def test_a_removed_edge_leaves_no_trace_of_the_child(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a", "b", on_failure="remove")
    fail_child(driven)
    assert driven.state("p") == "waiting-children"
    assert set(driven.client.smembers(driven.key("deps:p"))) == {member(driven, "b").encode()}
    assert driven.field("p", "depsCompleted") is None
    driven.complete(driven.start_one())
    assert driven.state("p") == "waiting"


def test_a_parent_whose_only_edge_goes_has_nothing_to_wait_for(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a", on_failure="remove")
    fail_child(driven)
    assert driven.start_one().id == "p"


def test_continue_wakes_the_parent_now_and_the_others_are_still_counted(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a", "b", on_failure="continue")
    fail_child(driven)
    assert driven.state("p") == "waiting"
    assert driven.events_of("p") == ["added", "active"]
    other, parent = driven.start(2)
    assert (other.id, parent.id) == ("b", "p")
    driven.complete(other)
    assert driven.field("p", "depsCompleted") == "2"
    assert driven.state("p") == "active"


@pytest.mark.parametrize("policy", POLICIES)
def test_a_retry_that_is_left_tells_nobody(driven: DrivenQueue, policy: str | None) -> None:
    add_parent(driven, "p", "a", on_failure=policy)
    driven.fail(driven.start_one(), max_attempts=2)
    assert driven.state("p") == "waiting-children"
    assert driven.field("p", "depsCompleted") is None
    driven.complete(driven.start_one())
    assert driven.start_one().id == "p"


def expire(driven: DrivenQueue) -> None:
    driven.pass_time(100_001)
    driven.step(1)


def revoke_waiting(driven: DrivenQueue) -> None:
    driven.call("revoke", id="a")


def revoke_running(driven: DrivenQueue) -> None:
    job = driven.start_one()
    driven.call("revoke", id="a")
    driven.complete(job)


def stall(driven: DrivenQueue) -> None:
    driven.start_one()
    driven.pass_time(60_000)
    driven.recover_stalled(max_stalled=0)


def crash(driven: DrivenQueue) -> None:
    driven.release(driven.start_one(), crash="SIGSEGV", max_crashes=1)


def quarantine(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("job:a"), "opts", "no JSON")
    driven.step(1)


def remove_waiting(driven: DrivenQueue) -> None:
    driven.call("remove", id="a")


def remove_running(driven: DrivenQueue) -> None:
    driven.start_one()
    driven.call("remove", id="a")


def drain(driven: DrivenQueue) -> None:
    driven.call("drain", delayed=False)


End = Callable[[DrivenQueue], None]

ENDS: dict[End, str] = {
    expire: "expired",
    revoke_waiting: "revoked",
    revoke_running: "revoked",
    stall: "job stalled more than maxStalledCount",
    crash: "worker process killed by SIGSEGV 1 time",
    quarantine: "malformed job: field opts is not a JSON object",
    remove_waiting: "removed",
    remove_running: "removed",
    drain: "removed",
}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_however_a_child_ends_its_parent_hears_of_it(driven: DrivenQueue, end: End) -> None:
    add_flow(driven, leaf("a", (driven, "p"), ttl_ms=100_000), parent_row("p", member(driven, "a")))
    end(driven)
    assert driven.state("p") == "failed"
    assert driven.field("p", "failedReason") == f"child {member(driven, 'a')} failed: {ENDS[end]}"


def test_failure_goes_up_the_tree_as_far_as_the_policies_carry_it(driven: DrivenQueue) -> None:
    add_flow(
        driven,
        leaf("leaf", (driven, "mid")),
        parent_row("mid", member(driven, "leaf"), parent=(driven, "upper")),
        parent_row("upper", member(driven, "mid"), parent=(driven, "root"), on_failure="ignore"),
        leaf("other", (driven, "root")),
        parent_row("root", member(driven, "upper"), member(driven, "other")),
    )
    fail_child(driven)
    assert [driven.state(job) for job in ("mid", "upper", "root")] == ["failed", "failed", "waiting-children"]
    assert driven.field("upper", "failedReason") == (
        f"child {member(driven, 'mid')} failed: child {member(driven, 'leaf')} failed: boom"
    )
    driven.complete(driven.start_one())
    assert driven.start_one().id == "root"
    assert driven.metrics("failed")


def test_a_chain_longer_than_a_call_should_last_goes_on_through_the_outbox(driven: DrivenQueue) -> None:
    depth = 450
    rows = [leaf("0", (driven, "1"))]
    rows += [
        parent_row(
            str(number),
            member(driven, str(number - 1)),
            parent=(driven, str(number + 1)) if number < depth else None,
        )
        for number in range(1, depth + 1)
    ]
    add_flow(driven, *rows)
    fail_child(driven)
    rounds = 0
    while found := letters(driven):
        assert carry(driven, driven) == len(found) == 1
        rounds += 1
    assert rounds == 2  # 200 parents a call
    assert driven.state(str(depth)) == "failed"
    assert len(driven.field(str(depth), "failedReason") or "") <= 4200


def test_a_running_parent_fails_only_when_it_would_wait(driven: DrivenQueue) -> None:
    driven.add(job_id="p")
    parent = driven.start_one()
    driven.add(job_id="a", parent="p", parent_queue=driven.name)
    fail_child(driven)
    assert driven.state("p") == "active"
    assert driven.complete(parent) == [1]


def test_a_child_tried_again_and_completed_takes_its_failure_back(driven: DrivenQueue) -> None:
    driven.add(job_id="p")
    driven.start_one()
    driven.add(job_id="a", parent="p", parent_queue=driven.name)
    fail_child(driven)
    assert driven.field("p", "x-py:depsFailing") == "1"
    driven.call("retry_job", id="a")
    driven.complete(driven.start_one())
    assert driven.field("p", "x-py:depsFailing") == "0"
    assert driven.field("p", f"x-py:depfailed:{member(driven, 'a')}") is None
    assert driven.field("p", "depsCompleted") == "1"


def test_a_forgotten_child_that_is_tried_again_counts_for_nobody(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a", "b", on_failure="remove")
    assert fail_child(driven) == "a"
    driven.call("retry_job", id="a")
    jobs = {job.id: job for job in driven.start(2)}
    driven.complete(jobs["a"])
    assert driven.state("p") == "waiting-children", "the other child runs"
    assert driven.field("p", "depsCompleted") is None
    driven.complete(jobs["b"])
    assert driven.start_one().id == "p"


def test_what_a_child_returned_that_was_ignored_before_is_kept_as_well(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a", "b", on_failure="ignore")
    fail_child(driven)
    driven.call("retry_job", id="a")
    jobs = {job.id: job for job in driven.start(2)}
    driven.complete(jobs["a"], value="7", retain=True)
    assert driven.field("p", f"x-py:depvalue:{member(driven, 'a')}") == "7"


@pytest.mark.parametrize("policy", ["ignore", "remove", "continue"])
def test_a_child_that_was_missed_too_soon_fails_as_its_policy_says(driven: DrivenQueue, policy: str) -> None:
    driven.add(job_id="p")
    parent = driven.start_one()
    name = member(driven, "a")
    driven.call("register_child", parents=["p"], member=name)
    driven.call("hear_children", rows=[["p", name, "missing", False]])
    driven.pass_time(60_000)
    driven.call("hear_children", rows=[["p", name, "missing", False]])
    assert driven.field("p", "x-py:depsFailing") == "1"
    # Whoever was to add it was only slow.
    add_flow(driven, leaf("a", (driven, "p"), on_failure=policy))
    fail_child(driven)
    assert driven.field("p", "x-py:depsFailing") == "0"
    assert driven.call("move_to_waiting_children", rows=[[*parent.fence, parent.entry_id]])[2] == [1]
    assert driven.start_one().id == "p"


def test_a_failure_that_was_ignored_counts_once_when_the_child_completes_later(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a", "b", on_failure="ignore")
    fail_child(driven)
    driven.call("retry_job", id="a")
    jobs = {job.id: job for job in driven.start(2)}
    driven.complete(jobs["a"])
    assert driven.field("p", "depsCompleted") == "1"
    assert driven.field("p", f"x-py:depfailed:{member(driven, 'a')}") is None
    driven.complete(jobs["b"])
    assert driven.state("p") == "waiting"


def test_what_a_short_lived_child_returned_is_kept_for_its_parent(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a", "b")
    first, second = driven.start(2)
    driven.complete(first, value='{"x":1}', retain=True)
    driven.complete(second, value="2")
    assert driven.field("a", "id") is None
    assert driven.field("p", f"x-py:depvalue:{member(driven, 'a')}") == '{"x":1}'
    assert driven.field("p", f"x-py:depvalue:{member(driven, 'b')}") is None
    assert driven.state("p") == "waiting"


def test_a_failed_parent_obeys_its_own_retention(driven: DrivenQueue) -> None:
    add_flow(
        driven,
        leaf("a", (driven, "p")),
        parent_row("p", member(driven, "a"), opts='{"removeOnFail":true}'),
    )
    fail_child(driven)
    assert driven.field("p", "id") is None
    assert not driven.client.exists(driven.key("deps:p"))
    assert driven.members("failed") == {"a": driven.now}


def test_a_removed_parent_does_not_come_back(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a")
    driven.call("remove", id="p")
    fail_child(driven)
    assert driven.client.hgetall(driven.key("job:p")) == {}


def test_reasons_are_cut_at_a_whole_character(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a", on_failure="ignore")
    fail_child(driven, reason="x" + "é" * 4000)
    told = driven.client.hget(driven.key("job:p"), f"x-py:depfailed:{member(driven, 'a')}")
    assert told.decode() == "x" + "é" * 2047
