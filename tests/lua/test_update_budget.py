"""gmq_update_budget: limits are changed, and who was paused asks again."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.update_budget import UpdateBudgetCommand
from tests.lua.budgets import FLOW, add_budgeted, budget_of, budgeted
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute

PAUSING = {"onExceeded": "pause", "maxTotalTokens": "10", "maxTotalCost": "1"}


def update(queue: DrivenQueue, unset: tuple[str, ...] = (), **fields: str) -> int | None:
    return execute(queue, UpdateBudgetCommand(queue.key("meta"), flow_id=FLOW, fields=fields, unset=unset))


def test_limits_are_set_and_taken_away_and_others_stay(driven: DrivenQueue) -> None:
    add_budgeted(driven, limits=PAUSING)
    assert update(driven, ("maxTotalCost",), maxTotalTokens="30", onExceeded="fail") == 0
    stored = budget_of(driven)
    assert (stored["maxTotalTokens"], stored["onExceeded"], stored.get("maxTotalCost")) == (
        "30",
        "fail",
        None,
    )
    assert update(driven) == 0


def test_many_paused_jobs_are_woken_in_several_calls(driven: DrivenQueue) -> None:
    add_budgeted(driven, *(budgeted(driven, f"j{number}", 20) for number in range(250)), limits=PAUSING)
    while driven.step(100).more:
        pass
    assert len(driven.members("scheduled")) == 250
    assert update(driven, maxTotalTokens="100000") == 50
    assert update(driven) == 0
    assert len(driven.entries()) == 250


def test_budget_that_does_not_exist_is_not_made(driven: DrivenQueue) -> None:
    assert update(driven, maxTotalTokens="5") is None
    assert driven.suffixes() == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"set": ["maxTotalTokens"], "unset": []},
        {"set": ["usedTokens", "0"], "unset": []},
        {"set": ["maxTotalTokens", 5], "unset": []},
        {"set": [], "unset": ["exceeded"]},
    ],
)
def test_anything_but_limits_is_refused(driven: DrivenQueue, arguments: dict[str, Any]) -> None:
    add_budgeted(driven)
    before = driven.snapshot()
    assert driven.call("update_budget", flow=FLOW, limit=5, **arguments)[0] == b"bad_argument"
    assert driven.snapshot() == before
