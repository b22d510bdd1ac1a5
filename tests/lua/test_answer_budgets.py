"""gmq_answer_budgets: what budgets of other queues have answered."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.answer_budgets import AnswerBudgetsCommand, Answered
from glidemq.commands.command import pack, unpack
from tests.lua.budgets import FLOW, add_budgeted, budgeted
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.families import letters


@pytest.fixture
def asking(driven: DrivenQueue, call: Call) -> DrivenQueue:
    """A queue whose job "a" has asked a budget elsewhere."""
    elsewhere = DrivenQueue(driven.client, f"{driven.name}-elsewhere", call)
    add_budgeted(driven, budgeted(elsewhere, "a", 40), limits=None)
    assert driven.step(1).posted == 1
    return driven


def version_of(queue: DrivenQueue) -> int:
    [[_, kind, _, body, _]] = letters(queue)
    assert kind == b"budget"
    version: int = unpack(body)[2]
    return version


def answer(queue: DrivenQueue, version: int, verdict: str) -> Answered:
    rows = [pack(("a", version, verdict))]
    return execute(queue, AnswerBudgetsCommand(queue.key("meta"), rows=rows))


@pytest.mark.parametrize("verdict", ["granted", "free"])
def test_job_starts_once_it_may(asking: DrivenQueue, verdict: str) -> None:
    assert asking.state("a") == "delayed"
    assert answer(asking, version_of(asking), verdict) == Answered(posted=False, refused=[])
    assert asking.start_one().id == "a"


def test_answer_to_an_earlier_question_does_not_count(asking: DrivenQueue) -> None:
    answer(asking, version_of(asking) - 1, "granted")
    assert asking.state("a") == "delayed"


def test_answer_that_comes_twice_does_not_start_the_job_twice(asking: DrivenQueue) -> None:
    version = version_of(asking)
    answer(asking, version, "granted")
    job = asking.start_one()
    answer(asking, version, "granted")
    answer(asking, version, "fail")
    answer(asking, version, "again")
    assert asking.state("a") == "active"
    assert asking.complete(job) == [1]


def test_refusal_fails_the_job_and_is_told(asking: DrivenQueue) -> None:
    assert answer(asking, version_of(asking), "fail").refused == [("a", FLOW)]
    assert (asking.state("a"), asking.field("a", "failedReason")) == ("failed", "Budget exceeded")


def test_job_that_has_to_wait_asks_again_when_it_is_told_so(asking: DrivenQueue) -> None:
    answer(asking, version_of(asking), "wait")
    assert asking.state("a") == "delayed"
    answer(asking, version_of(asking), "again")
    assert asking.step(1).posted == 1
    assert len(letters(asking)) == 2


def test_job_that_has_run_meanwhile_is_not_woken_from_its_back_off(asking: DrivenQueue) -> None:
    first = version_of(asking)
    answer(asking, first, "wait")
    asking.pass_time(15_000)
    assert asking.step(1).posted == 1  # it asks by itself before it is told to
    [_, second] = letters(asking)
    answer(asking, unpack(second[3])[2], "granted")
    asking.fail(asking.start_one(), max_attempts=2, delay=60_000)
    answer(asking, first, "again")
    assert asking.state("a") == "delayed"


def test_job_that_is_held_back_and_removed_frees_its_place_in_the_budget(asking: DrivenQueue) -> None:
    answer(asking, version_of(asking), "wait")
    asking.call("remove", id="a")
    assert [unpack(letter[3])[3] for letter in letters(asking)] == [b"ask", b"return"]
    assert not asking.client.exists(asking.key("x-py:allowances"))


def test_job_that_was_let_start_too_long_ago_asks_anew(asking: DrivenQueue) -> None:
    answer(asking, version_of(asking), "granted")
    asking.pass_time(1_800_000)
    assert asking.step(1).ids == []
    assert len(letters(asking)) == 2


@pytest.mark.parametrize("row", [["a", "1", "granted"], ["a", 1, "perhaps"], [1, 1, "wait"]])
def test_malformed_answers_are_refused(asking: DrivenQueue, row: list[Any]) -> None:
    before = asking.snapshot()
    assert asking.call("answer_budgets", rows=[row])[0] == b"bad_argument"
    assert asking.snapshot() == before
