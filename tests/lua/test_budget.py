"""Budgets of flows: who starts, who waits, who is refused, and what is reserved meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import valkey

from tests.lua.budgets import (
    FLOW,
    add_budgeted,
    budget_of,
    budgeted,
    report,
    reserved,
    update,
    used,
)
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue, Started
from tests.lua.families import add_parent
from tests.lua.run_ends import ENDS, is_given_back

DAY_MS = 86_400_000
PAUSING = {"onExceeded": "pause", "maxTotalTokens": "100"}


@pytest.fixture
def other(raw: valkey.Valkey, queue_name: str, call: Call) -> DrivenQueue:
    """A queue that may be in another slot than `driven`, where the budgets stand."""
    return DrivenQueue(raw, f"{queue_name}-other", call)


# -- reserving -----------------------------------------------------------------------------------------------


def test_jobs_start_as_long_as_their_estimates_fit(driven: DrivenQueue) -> None:
    add_budgeted(driven, *(budgeted(driven, name, 40) for name in "abc"))
    assert driven.step(10).ids == ["a", "b"]
    assert reserved(driven) == 80
    assert driven.state("c") == "delayed"


def test_job_that_waited_starts_once_another_has_used_less_than_it_reserved(driven: DrivenQueue) -> None:
    add_budgeted(driven, *(budgeted(driven, name, 40) for name in "abc"))
    first, second = driven.start(2)
    report(driven, first, 15)
    assert (used(driven), reserved(driven)) == (15, 65)
    started = driven.step(10, complete=[driven.completion(first)]).started
    assert [job.id for job in started] == ["c"]
    assert (used(driven), reserved(driven)) == (15, 80)
    report(driven, second, 40)
    report(driven, started[0], 40)
    driven.complete(second, *started)
    assert (used(driven), reserved(driven)) == (95, 0)
    assert budget_of(driven)["exceeded"] == "0"


def test_estimate_that_never_fits_is_refused_although_nothing_was_used(driven: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "a", 101), budgeted(driven, "b", 100))
    stepped = driven.step(10)
    assert (stepped.ids, stepped.refused) == (["b"], [[b"a", FLOW.encode()]])
    assert driven.job("a")["failedReason"] == "Budget exceeded"
    assert driven.events_of("a") == ["added", "budget-exceeded", "failed"]
    told = next(event for event in driven.events() if event["event"] == "budget-exceeded")
    assert told == {"event": "budget-exceeded", "jobId": "a", "flowId": FLOW, "onExceeded": "fail"}
    assert budget_of(driven)["exceeded"] == "0"


def test_job_that_crosses_the_line_completes_and_the_next_one_fails_for_good(driven: DrivenQueue) -> None:
    add_budgeted(driven, *(budgeted(driven, name, 60, attempts=5) for name in "ab"))
    [job] = driven.start(1)
    report(driven, job, 150)
    assert budget_of(driven)["exceeded"] == "1"
    assert driven.complete(job) == [1]
    assert driven.step(10).ids == []
    assert driven.job("b")["failedReason"] == "Budget exceeded"
    assert driven.members("scheduled") == {}


def test_exactly_the_limit_is_not_too_much(driven: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "a", 100), budgeted(driven, "b", 0))
    first = driven.start(2)[0]
    report(driven, first, 100)
    driven.complete(first)
    assert budget_of(driven)["exceeded"] == "0"


def test_first_job_without_an_estimate_runs_alone_and_later_ones_reserve_the_average(
    driven: DrivenQueue,
) -> None:
    add_budgeted(driven, *(budgeted(driven, name) for name in "abcdefg"))
    job = driven.start_one()
    assert job.id == "a"
    assert driven.step(10).ids == []
    assert reserved(driven) == 100
    report(driven, job, 20)
    driven.complete(job)
    assert len(driven.step(10).ids) == 4
    assert (used(driven), reserved(driven)) == (20, 80)


def test_average_that_is_not_left_any_more_lets_one_job_run_with_the_rest(driven: DrivenQueue) -> None:
    add_budgeted(driven, *(budgeted(driven, name) for name in "abc"))
    job = driven.start_one()
    report(driven, job, 70)
    driven.complete(job)
    [second] = driven.step(10).started
    assert reserved(driven) == 30
    report(driven, second, 10)
    driven.complete(second)
    assert len(driven.step(10).ids) == 1
    assert reserved(driven) == 20


def test_cost_and_categories_count_with_their_weights(driven: DrivenQueue) -> None:
    limits = {
        "onExceeded": "fail",
        "maxTotalTokens": "1000",
        "tokenWeights": '{"reasoning":4,"cached":0.25,"bad":-1}',
        "maxTokens": '{"output":50}',
        "maxTotalCost": "0.5",
    }
    add_budgeted(driven, budgeted(driven, "a", 500), budgeted(driven, "b", 500), limits=limits)
    job = driven.start_one()
    assert reserved(driven, "usedCost") == 0.5
    report(driven, job, 0, 0.125, input=10, reasoning=5, cached=8, bad=1, output=20)
    stored = budget_of(driven)
    assert float(stored["usedTokens"]) == 10 + 20 + 2 + 1 + 20
    assert (stored["usedCost"], stored["usedTokens:reasoning"], stored["usedCost:total"]) == (
        "0.125",
        "5",
        "0.125",
    )
    driven.complete(job)
    second = driven.start_one()
    assert reserved(driven, "usedCost") == 0.125
    assert reserved(driven, "usedTokens:output") == 20
    report(driven, second, output=31)
    assert budget_of(driven)["exceeded"] == "1"


def test_report_replaces_its_own_runs_and_attempts_add(driven: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "a", 50))
    job = driven.start_one()
    report(driven, job, 20)
    report(driven, job, 30)
    assert (used(driven), reserved(driven)) == (30, 20)
    driven.fail(job, max_attempts=3, delay=0)
    assert reserved(driven) == 0
    again = driven.start_one()
    assert reserved(driven) == 50
    report(driven, again, 7)
    assert (used(driven), reserved(driven)) == (37, 43)


# -- ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [*ENDS, is_given_back], ids=lambda end: end.__name__)
def test_however_a_run_ends_it_reserves_nothing_any_more(
    driven: DrivenQueue, end: Callable[[DrivenQueue, Started], None]
) -> None:
    add_budgeted(driven, budgeted(driven, "a", 100))
    job = driven.start_one()
    report(driven, job, 25)
    end(driven, job)
    assert (used(driven), reserved(driven)) == (25, 0)
    assert driven.client.hlen(driven.key("x-py:allowances")) == 0


# -- pausing -------------------------------------------------------------------------------------------------


def test_job_that_is_added_again_under_its_name_uses_more_of_the_budget(driven: DrivenQueue) -> None:
    """As a crawler adds one page after another, and forgets each."""
    add_budgeted(driven)
    for total in (40, 80):
        add_budgeted(driven, budgeted(driven, "page", 40), limits=None)
        job = driven.start_one()
        report(driven, job, 40)
        driven.complete(job, retain=True)
        assert used(driven) == total
        driven.pass_time(1)
    add_budgeted(driven, budgeted(driven, "page", 40), limits=None)
    assert driven.step(1).ids == []
    assert driven.field("page", "failedReason") == "Budget exceeded"


def test_paused_jobs_wait_for_a_day_and_go_on_once_the_budget_is_raised(driven: DrivenQueue) -> None:
    add_budgeted(driven, *(budgeted(driven, name, 60) for name in "ab"), limits=PAUSING)
    job = driven.start_one()
    report(driven, job, 101)
    driven.complete(job)
    driven.step(10)
    assert driven.state("b") == "delayed"
    assert driven.members("scheduled") == {"b": driven.now + DAY_MS}
    assert driven.events_of("b") == ["added", "budget-exceeded", "delay-changed"]
    assert update(driven, maxTotalTokens="200") == [b"ok", 0]
    assert driven.start_one().id == "b"
    assert budget_of(driven)["exceeded"] == "0"


def test_budget_that_was_not_raised_enough_stays_exceeded(driven: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "a", 60), limits=PAUSING)
    job = driven.start_one()
    report(driven, job, 150)
    assert update(driven, maxTotalTokens="120") == [b"ok", 0]
    assert budget_of(driven)["exceeded"] == "1"
    assert driven.call("update_budget", flow="none", set=[], unset=[], limit=1) == [b"missing"]


def test_paused_job_comes_again_by_itself_after_a_day(driven: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "a", 160), limits=PAUSING)
    driven.step(1)
    driven.client.hset(driven.key(f"budget:{FLOW}"), "maxTotalTokens", "500")
    driven.pass_time(DAY_MS)
    assert driven.start_one().id == "a"


# -- others --------------------------------------------------------------------------------------------------


def test_budget_that_node_has_found_exceeded_lets_nobody_start(driven: DrivenQueue) -> None:
    driven.client.hset(
        driven.key(f"budget:{FLOW}"),
        mapping={"usedTokens": "30", "usedCost": "0", "exceeded": "1", "onExceeded": "fail"},
    )
    add_budgeted(driven, budgeted(driven, "a"), limits=None)
    assert driven.step(1).ids == []
    assert driven.job("a")["failedReason"] == "Budget exceeded"


def test_what_node_has_used_counts(driven: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "a", 60), budgeted(driven, "b", 30))
    driven.client.hincrbyfloat(driven.key(f"budget:{FLOW}"), "usedTokens", 50)
    assert driven.step(10).ids == ["b"]
    assert driven.state("a") == "failed"


def test_child_that_a_running_parent_adds_joins_its_budget(driven: DrivenQueue, other: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "p", 1))
    driven.start_one()
    child = driven.add(parent="p", parent_queue=driven.name)
    assert driven.job(child)["budgetKey"] == driven.key(f"budget:{FLOW}")
    reply = driven.call("register_child", parents=["p"], member=other.key("9"))
    assert reply == [b"ok", driven.key(f"budget:{FLOW}").encode()]
    add_parent(other, "q", "r")
    assert other.call("register_child", parents=["q"], member=driven.key("8")) == [b"ok", False]


def test_parked_job_of_a_group_gives_its_reservation_back(driven: DrivenQueue) -> None:
    rows = [
        driven.row(
            extra={"ordering": {"key": "g", "concurrency": 1}, "budget": driven.key(f"budget:{FLOW}")},
            opts='{"estimatedTokens":10}',
            job_id=name,
        )
        for name in "ab"
    ]
    reply = driven.call(
        "add_flow", jobs=rows, budgets=[[FLOW, ["onExceeded", "fail", "maxTotalTokens", "100"]]]
    )
    assert reply == [b"ok"]
    [job] = driven.step(10).started
    assert (driven.state("b"), reserved(driven)) == ("group-waiting", 10)
    driven.complete(job)
    assert (driven.start_one().id, reserved(driven)) == ("b", 10)


def test_long_run_keeps_its_reservation_as_long_as_it_reports(driven: DrivenQueue) -> None:
    add_budgeted(driven, budgeted(driven, "a", 60), budgeted(driven, "b", 60))
    job = driven.start_one()
    for tokens in (5, 10, 15):
        driven.pass_time(3_000_000)
        report(driven, job, tokens)
    assert driven.step(1).ids == []
    assert reserved(driven) == 45
    driven.pass_time(3_600_000)
    assert driven.start_one().id == "b"


def test_jobs_without_a_budget_write_no_key_of_budgets(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    report(driven, job, 10)
    driven.complete(job)
    assert not [name for name in driven.suffixes() if "budget" in name or "allowances" in name]
