"""Budgets of flows whose jobs are in other queues: they ask and are answered by letter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import valkey

from glidemq.commands.command import unpack
from tests.lua.budgets import add_budgeted, budgeted, carry, report, reserved, update, used
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue, Started
from tests.lua.run_ends import ENDS


@pytest.fixture
def other(raw: valkey.Valkey, queue_name: str, call: Call) -> DrivenQueue:
    """A queue that may be in another slot than `driven`, where the budgets stand."""
    return DrivenQueue(raw, f"{queue_name}-other", call)


# -- other queues --------------------------------------------------------------------------------------------


def test_job_of_another_queue_waits_without_a_slot_until_the_budget_has_answered(
    driven: DrivenQueue, other: DrivenQueue
) -> None:
    add_budgeted(driven)
    add_budgeted(other, *(budgeted(driven, name, 40) for name in "abc"), limits=None)
    stepped = other.step(10)
    assert (stepped.ids, stepped.posted) == ([], 1)
    assert [other.state(name) for name in "abc"] == ["delayed"] * 3
    carry(driven, other)
    first = other.start(2)[0]
    assert other.state("c") == "delayed"
    report(other, first, 10)
    other.complete(first)
    carry(driven, other)
    assert other.step(10).ids == []  # it asks again
    carry(driven, other)
    assert other.start_one().id == "c"
    assert (used(driven), reserved(driven)) == (10, 80)


@pytest.mark.parametrize(("policy", "state"), [("fail", "failed"), ("pause", "delayed")])
def test_refusal_reaches_the_job_in_its_own_queue(
    driven: DrivenQueue, other: DrivenQueue, policy: str, state: str
) -> None:
    add_budgeted(driven, limits={"onExceeded": policy, "maxTotalTokens": "10"})
    add_budgeted(other, budgeted(driven, "a", 40), limits=None)
    other.step(1)
    carry(driven, other, times=2)
    assert other.state("a") == state
    assert other.events_of("a").count("budget-exceeded") == 1
    assert update(driven, maxTotalTokens="50")[0] == b"ok"
    carry(driven, other)
    other.step(1)
    carry(driven, other)
    assert other.step(1).ids == (["a"] if policy == "pause" else [])


def test_question_that_got_lost_is_asked_again(driven: DrivenQueue, other: DrivenQueue) -> None:
    add_budgeted(driven)
    add_budgeted(other, budgeted(driven, "a", 40), limits=None)
    other.step(1)
    other.client.delete(other.key("x-py:outbox"))
    other.pass_time(5000)
    assert other.step(1).posted == 1
    carry(driven, other)
    assert other.start_one().id == "a"
    assert reserved(driven) == 40


def test_old_letters_change_nothing(driven: DrivenQueue, other: DrivenQueue) -> None:
    add_budgeted(driven)
    add_budgeted(other, budgeted(driven, "a", 40), limits=None)
    other.step(1)
    carry(driven, other)
    job = other.start_one()
    report(other, job, 10)
    other.complete(job)
    rows = other.client.xrange(other.key("x-py:outbox"))
    bodies = [unpack(fields[b"body"]) for _, fields in rows]
    for body in (bodies[1], bodies[0], bodies[1]):
        assert driven.call("hear_budgets", rows=[body])[0] == b"ok"
    assert (used(driven), reserved(driven)) == (10, 0)


def test_job_whose_budget_is_missing_runs_unhindered(driven: DrivenQueue, other: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "a", 400), limits=None)
    add_budgeted(other, budgeted(driven, "b", 400), limits=None)
    job = driven.start_one()
    report(driven, job, 400)
    driven.complete(job)
    other.step(1)
    carry(driven, other)
    other.complete(other.start_one())
    carry(driven, other)
    assert driven.client.keys(driven.key("*budget*")) == []


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_however_a_run_in_another_queue_ends_its_reservation_is_settled_by_letter(
    driven: DrivenQueue, other: DrivenQueue, end: Callable[[DrivenQueue, Started], None]
) -> None:
    add_budgeted(driven)
    add_budgeted(other, budgeted(driven, "a", 100), limits=None)
    assert other.step(1).ids == []
    carry(driven, other, times=2)
    job = other.start_one()
    assert reserved(driven) == 100
    report(other, job, 25)
    end(other, job)
    carry(driven, other, times=2)
    assert (used(driven), reserved(driven)) == (25, 0)
    assert other.client.hlen(other.key("x-py:allowances")) == 0


def test_reservation_that_nobody_settles_is_void_after_an_hour(
    driven: DrivenQueue, other: DrivenQueue
) -> None:
    add_budgeted(driven, budgeted(driven, "b", 60))
    add_budgeted(other, budgeted(driven, "a", 60), limits=None)
    other.step(1)
    carry(driven, other)
    other.client.delete(*other.client.keys(other.key("*")))
    assert driven.step(1).ids == []
    driven.pass_time(3_600_000)
    assert driven.start_one().id == "b"


# -- ends that this library does not see --------------------------------------------------------------------


def granted(root: DrivenQueue, other: DrivenQueue) -> None:
    """A job of `other` may start, and a Node worker takes it."""
    add_budgeted(root, budgeted(root, "b", 60))
    add_budgeted(other, budgeted(root, "a", 60), limits=None)
    other.step(1)
    carry(root, other)
    assert reserved(root) == 60
    other.client.hset(other.key("job:a"), mapping={"state": "active", "usage:tokens": '{"output":15}'})


@pytest.mark.parametrize(("state", "counted"), [("completed", 0), ("failed", 15), ("removed", 0)])
def test_reservation_of_a_job_that_node_has_ended_is_settled_at_the_next_look(
    driven: DrivenQueue, other: DrivenQueue, state: str, counted: float
) -> None:
    granted(driven, other)
    other.recover_stalled()
    carry(driven, other)
    assert (driven.step(1).ids, reserved(driven)) == ([], 60)
    if state == "removed":
        other.client.delete(other.key("job:a"))
    else:
        other.client.hset(other.key("job:a"), "state", state)
    other.recover_stalled()
    carry(driven, other, times=2)
    # Node itself adds what a completed job has used, nothing for others.
    assert (used(driven), reserved(driven)) == (counted, 0)
    assert driven.start_one().id == "b"
    assert not other.client.exists(other.key("x-py:allowances"))


def test_reservation_that_is_settled_at_a_look_lets_others_start_at_once(driven: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "a", 60), budgeted(driven, "b", 60))
    driven.start_one()
    assert driven.step(1).ids == []
    driven.client.hset(driven.key("job:a"), "state", "completed")
    driven.recover_stalled()
    assert driven.start_one().id == "b"
