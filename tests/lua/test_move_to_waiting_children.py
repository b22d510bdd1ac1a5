"""move_to_waiting_children: a running job waits for the children that it has, without a slot, and runs again."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.move_to_waiting_children import MoveToWaitingChildrenCommand, WaitRow
from tests.lua.driven_queue import DrivenQueue, Started
from tests.lua.executed import execute
from tests.lua.families import add_parent, member, opts_of
from tests.lua.grouped_queue import GroupedQueue


def wait(driven: DrivenQueue, *jobs: Started) -> list[int]:
    rows = [WaitRow.pack(job.id, job.token.encode(), job.processed_on, job.entry_id.encode()) for job in jobs]
    return execute(driven, MoveToWaitingChildrenCommand(driven.key("meta"), rows=rows)).outcomes


def start_parent(driven: DrivenQueue, **options: Any) -> Started:
    driven.add(job_id="p", **options)
    return driven.start_one()


def add_child(driven: DrivenQueue, job_id: str, on_failure: str | None = None) -> None:
    driven.add(job_id=job_id, opts=opts_of(on_failure), parent="p", parent_queue=driven.name)


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}, {"priority": 4}])
def test_a_running_parent_waits_for_its_children_and_runs_again(
    driven: DrivenQueue, kind: dict[str, int]
) -> None:
    parent = start_parent(driven, **kind)
    add_child(driven, "a")
    add_child(driven, "b")
    assert wait(driven, parent) == [1]
    assert driven.state("p") == "waiting-children"
    assert driven.list_active() == 0 and driven.pending() == {}
    assert driven.members("x-py:parents") == {"p": driven.now + 30_000}
    assert driven.events_of("p")[-1] == "waiting-children"
    first, second = driven.start(2)
    driven.complete(first)
    assert driven.step(1).ids == []
    driven.complete(second)
    assert driven.state("p") == ("prioritized" if "priority" in kind else "waiting")
    again = driven.start_one()
    assert (again.id, driven.field("p", "attemptsMade")) == ("p", "0")
    told = driven.events_of("p")
    assert told[-2:] == ["active", "promoted"] if "priority" in kind else told[-1] == "active"
    assert driven.complete(again) == [1]


@pytest.mark.parametrize(("kind", "place"), [({"priority": 4}, 1), ({"lifo": 1}, 2), ({}, 4)])
def test_a_parent_that_is_ready_takes_its_place_by_urgency(
    driven: DrivenQueue, kind: dict[str, int], place: int
) -> None:
    parent = start_parent(driven, **kind)
    add_child(driven, "a")
    wait(driven, parent)
    child = driven.start_one()
    for job_id, others in (("5", {"priority": 5}), ("lifo", {"lifo": 1}), ("plain", {})):
        driven.add(job_id=job_id, **others)
    rings = driven.client.xlen(driven.key("x-py:bell"))
    driven.complete(child)
    assert driven.client.xlen(driven.key("x-py:bell")) == rings + bool(kind), "whoever sleeps must hear of it"
    order = [driven.start_one().id for _ in range(4)]
    assert order.index("p") + 1 == place, order


@pytest.mark.parametrize("children", [0, 2])
def test_a_parent_with_nothing_to_wait_for_runs_again_at_once(driven: DrivenQueue, children: int) -> None:
    parent = start_parent(driven)
    for number in range(children):
        add_child(driven, f"c{number}")
        driven.complete(driven.start_one())
    assert wait(driven, parent) == [1]
    assert driven.events_of("p")[-1] == "active"
    assert driven.members("x-py:parents") == {}
    assert driven.start_one().id == "p"


def test_a_child_that_failed_before_fails_the_parent_that_would_wait(driven: DrivenQueue) -> None:
    parent = start_parent(driven)
    add_child(driven, "a")
    add_child(driven, "b")
    driven.fail(driven.start_one())
    assert wait(driven, parent) == [6]
    assert (driven.state("p"), driven.field("p", "failedReason")) == (
        "failed",
        f"child {member(driven, 'a')} failed: boom",
    )
    assert wait(driven, parent) == [2]


def test_continue_before_the_wait_makes_it_run_again_at_once_but_once(driven: DrivenQueue) -> None:
    parent = start_parent(driven)
    add_child(driven, "a", "continue")
    add_child(driven, "b", "continue")
    driven.fail(driven.start_one())
    assert wait(driven, parent) == [1]
    other, again = driven.start(2)
    assert again.id == "p"
    assert wait(driven, again) == [1]
    assert driven.state("p") == "waiting-children"
    driven.complete(other)
    assert driven.start_one().id == "p"


def test_a_run_that_began_after_the_failure_waits_for_others(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a", "b", on_failure="continue")
    first, second = driven.start(2)
    driven.fail(first)
    driven.fail(second)  # the parent waits for its turn by then
    parent = driven.start_one()
    add_child(driven, "c")
    assert wait(driven, parent) == [1]
    assert driven.state("p") == "waiting-children"
    driven.complete(driven.start_one())
    assert driven.start_one().id == "p"


@pytest.mark.parametrize("policy", [None, "ignore", "remove", "continue"])
def test_a_child_under_the_name_of_an_earlier_one_is_waited_for(
    driven: DrivenQueue, policy: str | None
) -> None:
    parent = start_parent(driven)
    add_child(driven, "a", policy)
    if policy:
        driven.fail(driven.start_one(), retain=True)
    else:
        driven.complete(driven.start_one(), retain=True)
    driven.call("release", consumer="c1", rows=[[*parent.fence, parent.entry_id, False]], max_crashes=3)
    parent = driven.start_one()
    add_child(driven, "a")
    assert wait(driven, parent) == [1]
    assert driven.state("p") == "waiting-children"
    driven.complete(driven.start_one())
    assert driven.start_one().id == "p"


def test_repeated_call_moves_nothing_more(driven: DrivenQueue) -> None:
    parent = start_parent(driven)
    add_child(driven, "a")
    wait(driven, parent)
    before = driven.snapshot()
    assert wait(driven, parent) == [2]
    assert driven.snapshot() == before


def test_parent_whose_lease_was_lost_is_left_alone(driven: DrivenQueue) -> None:
    parent = start_parent(driven)
    driven.pass_time(60_000)
    driven.recover_stalled()
    before = driven.snapshot()
    assert wait(driven, parent) == [4]
    assert driven.snapshot() == before


def test_removed_parent_is_gone(driven: DrivenQueue) -> None:
    parent = start_parent(driven)
    driven.client.delete(driven.key("job:p"))
    assert wait(driven, parent) == [3]
    assert driven.entries() == []


def test_revoked_parent_fails_instead_of_waiting(driven: DrivenQueue) -> None:
    parent = start_parent(driven)
    add_child(driven, "a")
    driven.call("revoke", id="p")
    assert wait(driven, parent) == [6]
    assert (driven.state("p"), driven.field("p", "failedReason")) == ("failed", "revoked")


def test_a_waiting_parent_can_be_revoked_and_its_children_end_in_peace(driven: DrivenQueue) -> None:
    parent = start_parent(driven)
    add_child(driven, "a")
    wait(driven, parent)
    driven.call("revoke", id="p")
    assert driven.state("p") == "failed"
    driven.complete(driven.start_one())
    assert driven.state("p") == "failed" and driven.entries() == []


@pytest.mark.parametrize(("concurrency", "free"), [(1, False), (2, True)])
def test_a_waiting_parent_lets_its_slot_go_above_a_concurrency_of_one(
    grouped: GroupedQueue, concurrency: int, free: bool
) -> None:
    ordering = {"ordering": {"key": "k", "concurrency": concurrency}}
    for job_id in ("p", "q", "r"):
        grouped.add(job_id=job_id, extra=ordering)
    parent = grouped.step(concurrency).started[0]
    grouped.add(job_id="a", parent="p", parent_queue=grouped.name)
    assert wait(grouped, parent) == [1]
    assert ("r" in grouped.step(3).ids) is free


def test_malformed_rows_are_refused(driven: DrivenQueue) -> None:
    assert driven.call("move_to_waiting_children", rows=[["1", "t", "soon", ""]])[0] == b"bad_argument"
