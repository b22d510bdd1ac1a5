"""gmq_hear_budgets: statements that come by letter."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.command import pack
from glidemq.commands.hear_budgets import HearBudgetsCommand
from tests.lua.budgets import FLOW, add_budgeted, reserved, used
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.families import letters

MEMBER = "glide:{elsewhere}:7"
FORTY: dict[str, Any] = {"tokens": 40, "cost": False}


def usage(tokens: int, born: int = 1) -> dict[str, Any]:
    return {"born": born, "tokens": {"output": tokens}, "total_tokens": tokens, "costs": {}, "total_cost": 0}


def hear(queue: DrivenQueue, *rows: tuple[Any, ...]) -> bool:
    packed = [pack((FLOW, MEMBER, *row)) for row in rows]
    return execute(queue, HearBudgetsCommand(queue.key("meta"), rows=packed))


def test_question_is_answered_by_letter(driven: DrivenQueue) -> None:
    add_budgeted(driven)
    assert hear(driven, (5, "ask", FORTY, False))
    [[_, kind, to, body, _]] = letters(driven)
    assert (kind, to, body) == (b"budget-answer", b"glide:{elsewhere}", pack(("7", 5, "granted")))
    assert reserved(driven) == 40


def test_what_is_heard_again_or_too_late_changes_nothing(driven: DrivenQueue) -> None:
    add_budgeted(driven)
    ask, use, end = (5, "ask", FORTY, False), (6, "use", False, usage(10)), (7, "end", False, usage(25))
    assert hear(driven, ask)
    assert not hear(driven, end, use, ask, end, use)
    assert (used(driven), reserved(driven)) == (25, 0)


def test_a_job_under_the_name_of_an_earlier_one_adds_to_what_that_has_used(driven: DrivenQueue) -> None:
    add_budgeted(driven)
    hear(driven, (5, "ask", FORTY, usage(0)), (6, "end", False, usage(30)))
    hear(driven, (7, "ask", FORTY, usage(0, born=2)))
    assert (used(driven), reserved(driven)) == (30, 40)
    hear(driven, (8, "use", False, usage(10, born=2)), (9, "end", False, usage(25, born=2)))
    assert (used(driven), reserved(driven)) == (55, 0)


def test_statements_to_a_budget_that_is_gone_let_the_job_run(driven: DrivenQueue) -> None:
    assert hear(driven, (5, "ask", FORTY, False))
    [[*_, body, _]] = letters(driven)
    assert body == pack(("7", 5, "free"))
    assert not hear(driven, (6, "end", False, usage(3)))
    assert driven.suffixes() == ["x-py:outbox"]


@pytest.mark.parametrize(
    "row",
    [
        (5, "beg", FORTY, False),
        (5, "ask", 40, False),
        (5, "ask", {"tokens": "40", "cost": False}, False),
        (5, "ask", {"tokens": -1, "cost": False}, False),
        (5, "ask", {"tokens": 40, "cost": {"output": "much"}}, False),
        (5, "use", False, {"tokens": 5}),
        (5, "use", False, {**usage(5), "born": "1"}),
        (5, "use", False, 5),
        (5, "ask", FORTY, False, "glide:{elsewhere}:1"),
        ("5", "ask", FORTY, False),
    ],
)
def test_malformed_statements_are_refused(driven: DrivenQueue, row: tuple[Any, ...]) -> None:
    add_budgeted(driven)
    before = driven.snapshot()
    assert driven.call("hear_budgets", rows=[[FLOW, MEMBER, *row]])[0] == b"bad_argument"
    assert driven.snapshot() == before
