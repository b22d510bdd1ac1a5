"""What was guessed for a running parent keeps no child of it from starting: the parent may wait for it."""

from __future__ import annotations

from typing import Any

import pytest
import valkey

from tests.lua.budgets import add_budgeted, budgeted, carry, estimating, report, reserved, used
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue


@pytest.fixture
def other(raw: valkey.Valkey, queue_name: str, call: Call) -> DrivenQueue:
    """A queue that may be in another slot than `driven`, where the budgets stand."""
    return DrivenQueue(raw, f"{queue_name}-other", call)


def child(queue: DrivenQueue, parents: DrivenQueue, job_id: str, parent: str) -> bytes:
    return budgeted(queue, job_id, parent_id=parent, parent_queue=parents.name)


def test_child_takes_what_was_guessed_for_its_running_parent(driven: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "p"))
    parent = driven.start_one()
    report(driven, parent, 20)
    assert reserved(driven) == 80
    add_budgeted(driven, child(driven, driven, "a", "p"), child(driven, driven, "b", "p"), limits=None)
    [first] = driven.step(10).started
    assert (first.id, reserved(driven)) == ("a", 80)
    report(driven, first, 30)
    driven.complete(first)
    [second] = driven.step(10).started
    driven.complete(second, parent)
    assert (used(driven), reserved(driven)) == (50, 0)


def test_grandchild_takes_what_the_child_has_taken(driven: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "p"))
    driven.start_one()
    for parent, name in [("p", "a"), ("a", "b"), ("b", "c")]:
        add_budgeted(driven, child(driven, driven, name, parent), limits=None)
        assert driven.start_one().id == name
    assert reserved(driven) == 100


def test_others_still_wait_for_a_guess(driven: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "p"))
    driven.start_one()
    add_budgeted(driven, budgeted(driven, "a"), limits=None)
    assert driven.step(10).ids == []


def test_stated_reservation_of_a_parent_stays(driven: DrivenQueue) -> None:
    add_budgeted(driven, estimating(driven, "p", estimated_tokens=60))
    parent = driven.start_one()
    row = estimating(driven, "a", estimated_tokens=60)
    add_budgeted(driven, row, limits=None)
    driven.client.hset(driven.key("job:a"), mapping={"parentId": "p", "parentQueue": driven.name})
    assert driven.step(10).ids == []
    assert reserved(driven) == 60
    driven.complete(parent)
    assert driven.start_one().id == "a"


def test_only_the_guessed_part_of_a_parents_reservation_goes_to_its_child(driven: DrivenQueue) -> None:
    limits = {"onExceeded": "fail", "maxTotalTokens": "100", "maxTotalCost": "1"}
    add_budgeted(driven, estimating(driven, "p", estimated_tokens=60), limits=limits)
    driven.start_one()
    assert (reserved(driven), reserved(driven, "usedCost")) == (60, 1)
    row = estimating(driven, "a", estimated_tokens=40, estimated_cost=0.5)
    add_budgeted(driven, row, limits=None)
    driven.client.hset(driven.key("job:a"), mapping={"parentId": "p", "parentQueue": driven.name})
    assert driven.start_one().id == "a"
    assert (reserved(driven), reserved(driven, "usedCost")) == (100, 0.5)


def test_child_in_another_queue_names_its_parents_in_its_letter(
    driven: DrivenQueue, other: DrivenQueue
) -> None:
    add_budgeted(driven, budgeted(driven, "p"), budgeted(driven, "q"))
    parent = driven.start_one()
    add_budgeted(other, budgeted(driven, "a"), limits=None)
    # One of several jobs that depend on it.
    other.client.hset(other.key("job:a"), mapping={"parentIds": '["p","q"]', "parentQueues": "[]"})
    other.client.sadd(other.key("parents:a"), driven.key("p"), driven.key("q"))
    assert other.step(1).ids == []
    carry(driven, other)
    job = other.start_one()
    report(other, job, 10)
    other.complete(job)
    carry(driven, other)
    driven.complete(parent)
    assert (used(driven), reserved(driven)) == (10, 0)


def test_job_without_an_estimate_runs_beside_one_that_uses_nothing(driven: DrivenQueue) -> None:
    add_budgeted(driven, estimating(driven, "root", estimated_tokens=0), budgeted(driven, "a"))
    assert driven.step(10).ids == ["root", "a"]
    assert reserved(driven) == 100
    add_budgeted(driven, budgeted(driven, "b"), limits=None)
    assert driven.step(10).ids == []


def test_jobs_without_estimates_do_not_start_side_by_side_once_all_is_used(driven: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "a"), budgeted(driven, "b"))
    job = driven.start_one()
    report(driven, job, 100)
    driven.pass_time(20_000)
    assert (driven.step(10).ids, reserved(driven)) == ([], 0)
    driven.complete(job)
    assert driven.start_one().id == "b"  # exactly the limit is not too much


def test_job_without_an_estimate_waits_for_what_others_have_reserved(driven: DrivenQueue) -> None:
    add_budgeted(driven, estimating(driven, "stated", estimated_tokens=10), budgeted(driven, "a"))
    [stated] = driven.step(10).started
    report(driven, stated, 4)
    driven.complete(stated)
    started: Any = driven.start_one()
    assert (started.id, reserved(driven)) == ("a", 4)  # the average by now
