"""gmq_get_budget: a budget as it stands."""

from __future__ import annotations

from glidemq.commands.get_budget import GetBudgetCommand, StoredBudget
from glidemq.options.budget import stored_budget
from tests.lua.budgets import FLOW, add_budgeted, budgeted, report
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute


def read(queue: DrivenQueue, flow_id: str = FLOW) -> StoredBudget | None:
    return execute(queue, GetBudgetCommand(queue.key("meta"), flow_id=flow_id))


def test_limits_counters_and_reservations_are_read(driven: DrivenQueue) -> None:
    limits = {"onExceeded": "fail", "maxTotalTokens": "100", "maxTokens": '{"output":60}', "costUnit": "usd"}
    add_budgeted(driven, budgeted(driven, "a", 40), limits=limits)
    report(driven, driven.start_one(), 15)
    stored = read(driven)
    assert stored is not None
    assert stored.reserved == {"usedTokens": "25", "usedTokens:output": "45"}
    budget = stored_budget(stored.fields, stored.reserved)
    assert (budget.max_total_tokens, budget.max_tokens, budget.cost_unit) == (100, {"output": 60}, "usd")
    assert (budget.used_tokens, budget.tokens, budget.reserved_tokens) == (15, {"output": 15}, 25)


def test_flow_without_a_budget_has_none(driven: DrivenQueue) -> None:
    assert read(driven, "other") is None


def test_what_others_have_written_is_read_as_far_as_it_can_be() -> None:
    odd = {"maxTotalTokens": "0", "maxTokens": "[1]", "maxCosts": "{", "usedTokens": "x", "onExceeded": "?"}
    budget = stored_budget(odd, {})
    assert (budget.max_total_tokens, budget.max_tokens, budget.max_costs) == (None, {}, {})
    assert (budget.used_tokens, budget.on_exceeded, budget.exceeded) == (0, "fail", False)
