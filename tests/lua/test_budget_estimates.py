"""What estimates of jobs and processors reserve, on every limit that a budget can have."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.budgets import add_budgeted, budget_of, budgeted, carry, estimating, report, reserved
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue

EVERY_LIMIT = {
    "onExceeded": "fail",
    "maxTotalTokens": "1000",
    "maxTokens": '{"output":300,"reasoning":100}',
    "tokenWeights": '{"reasoning":4,"cached":0.5}',
    "maxTotalCost": "1",
    "maxCosts": '{"output":0.5}',
}
COUNTERS = ("usedTokens", "usedTokens:output", "usedTokens:reasoning", "usedCost", "usedCost:output")


def all_reserved(queue: DrivenQueue) -> list[float]:
    return [reserved(queue, counter) for counter in COUNTERS]


def test_estimate_by_category_reserves_on_every_limit(driven: DrivenQueue) -> None:
    tokens = {"input": 100, "output": 50, "reasoning": 20, "cached": 40}
    row = estimating(driven, "a", estimated_tokens=tokens, estimated_cost={"input": 0.125, "output": 0.25})
    add_budgeted(driven, row, limits=EVERY_LIMIT)
    job = driven.start_one()
    assert all_reserved(driven) == [100 + 50 + 4 * 20 + 0.5 * 40, 50, 20, 0.375, 0.25]
    report(driven, job, costs={"output": 0.125}, input=100, reasoning=10)
    assert all_reserved(driven) == [110, 50, 10, 0.25, 0.125]
    driven.complete(job)
    assert all_reserved(driven) == [0] * 5


def test_categories_that_an_estimate_does_not_name_are_not_used(driven: DrivenQueue) -> None:
    row = estimating(driven, "a", estimated_tokens={"input": 10}, estimated_cost={})
    add_budgeted(driven, row, limits=EVERY_LIMIT)
    driven.start_one()
    assert all_reserved(driven) == [10, 0, 0, 0, 0]


def test_totals_say_nothing_about_categories_unless_they_are_none(driven: DrivenQueue) -> None:
    some = estimating(driven, "some", estimated_tokens=10, estimated_cost=0.25)
    add_budgeted(driven, some, limits=EVERY_LIMIT)
    job = driven.start_one()
    # Nothing is known of how they fall into categories: all that is left there, for a job that runs alone.
    assert all_reserved(driven) == [10, 300, 100, 0.25, 0.5]
    driven.complete(job)
    add_budgeted(driven, estimating(driven, "none", estimated_tokens=0, estimated_cost=0), limits=None)
    driven.start_one()
    assert all_reserved(driven) == [0] * 5


@pytest.mark.parametrize(
    "estimate",
    [
        {"estimated_tokens": {"output": 301}, "estimated_cost": 0},
        {"estimated_tokens": {"reasoning": 101}, "estimated_cost": 0},
        {"estimated_tokens": {"input": 1001}, "estimated_cost": 0},
        {"estimated_tokens": {"input": 900, "reasoning": 26}, "estimated_cost": 0},
        {"estimated_tokens": 0, "estimated_cost": 1.125},
        {"estimated_tokens": 0, "estimated_cost": {"output": 0.625}},
    ],
)
def test_estimate_that_never_fits_one_of_the_limits_is_refused(
    driven: DrivenQueue, estimate: dict[str, Any]
) -> None:
    add_budgeted(driven, estimating(driven, "a", **estimate), limits=EVERY_LIMIT)
    assert driven.step(1).ids == []
    assert driven.job("a")["failedReason"] == "Budget exceeded"


def test_categories_that_weigh_nothing_may_be_all_that_a_job_reports(driven: DrivenQueue) -> None:
    limits = {"onExceeded": "fail", "maxTotalTokens": "100", "tokenWeights": '{"cached":0}'}
    rows = [estimating(driven, name, estimated_tokens={"cached": 60, "output": 10}) for name in "ab"]
    add_budgeted(driven, *rows, limits=limits)
    [job] = driven.step(10).started
    report(driven, job, cached=60)
    assert budget_of(driven)["usedTokens"] == "60"
    assert reserved(driven) == 0


def test_ten_tenths_of_a_budget_are_not_more_than_the_whole(driven: DrivenQueue) -> None:
    rows = [estimating(driven, f"j{number}", estimated_cost=0.1) for number in range(11)]
    add_budgeted(driven, *rows, limits={"onExceeded": "fail", "maxTotalCost": "1"})
    for _ in range(5):
        first, second = driven.start(2)
        for job in (first, second):
            report(driven, job, 0, 0.1)
        driven.complete(first, second)
    assert (budget_of(driven)["usedCost"], budget_of(driven)["exceeded"]) == ("1", "0")
    assert driven.step(10).ids == []
    assert driven.job("j10")["failedReason"] == "Budget exceeded"


def test_jobs_that_may_all_run_together_do(driven: DrivenQueue) -> None:
    rows = [estimating(driven, f"j{number}", estimated_cost=0.1) for number in range(12)]
    add_budgeted(driven, *rows, limits={"onExceeded": "fail", "maxTotalCost": "1"})
    assert len(driven.step(20).ids) == 10


def test_estimate_of_another_queues_job_comes_with_its_letter(
    driven: DrivenQueue, raw: Any, call: Call
) -> None:
    other = DrivenQueue(raw, f"{driven.name}-other", call)
    add_budgeted(driven, limits=EVERY_LIMIT)
    options: dict[str, Any] = {"estimated_tokens": {"output": 200}, "estimated_cost": {"output": 0.25}}
    add_budgeted(other, *(estimating(driven, name, **options) for name in "ab"), limits=None)
    assert other.step(2).ids == []
    carry(driven, other)
    job = other.start_one()
    assert all_reserved(driven) == [200, 200, 0, 0.25, 0.25]
    assert other.step(2).ids == []
    report(other, job, costs={"output": 0.125}, output=100)
    other.complete(job)
    carry(driven, other)
    assert other.step(2).ids == []
    carry(driven, other)
    assert other.start_one().id == "b"


# -- what a processor states ---------------------------------------------------------------------------------


def test_processors_estimate_counts_for_what_a_job_does_not_state(driven: DrivenQueue) -> None:
    assumed = {"tokens": {"output": 30}, "cost": 0.25}
    rows = [
        budgeted(driven, "silent"),
        estimating(driven, "cheap", estimated_cost={"output": 0.125}),
        estimating(driven, "free", estimated_tokens=0, estimated_cost=0),
    ]
    add_budgeted(driven, *rows, limits={"onExceeded": "fail", "maxTotalTokens": "100", "maxTotalCost": "1"})
    assert driven.start_one(estimate=assumed).id == "silent"
    assert (reserved(driven), reserved(driven, "usedCost")) == (30, 0.25)
    assert driven.start_one(estimate=assumed).id == "cheap"
    assert (reserved(driven), reserved(driven, "usedCost")) == (60, 0.375)
    assert driven.start_one(estimate=assumed).id == "free"
    assert (reserved(driven), reserved(driven, "usedCost")) == (60, 0.375)


@pytest.mark.parametrize("estimate", [{"tokens": "many"}, {"tokens": {"output": -1}}, {"cost": True}, 5])
def test_malformed_estimate_of_a_processor_is_refused(driven: DrivenQueue, estimate: Any) -> None:
    driven.add()
    before = driven.snapshot()
    arguments: dict[str, Any] = {
        "cell": "c",
        "run": "r",
        "complete": [],
        "claimed": [],
        "max_bytes": 1,
        "consumer": "c",
    }
    reply = driven.call("step", slots=1, ahead=0, estimate=estimate, **arguments)
    assert reply[0] == b"bad_argument"
    assert driven.snapshot() == before


# -- what others write ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opts", "share"),
    [
        ({"estimatedTokens": 40}, 40),
        ({"estimatedTokens": 40, "x-py:estimatedTokens": {"output": 30}}, 30),
        ({"estimatedTokens": 40, "x-py:estimatedTokens": "many"}, 40),
        ({"estimatedTokens": 40, "x-py:estimatedTokens": {"output": 30, "input": -5, "other": "x"}}, 30),
        ({"estimatedTokens": 40, "x-py:estimatedTokens": [30]}, 40),
        ({"estimatedTokens": -40}, 100),
        ({"estimatedTokens": None}, 100),
        ({"x-py:estimatedCost": 5}, 100),
    ],
)
def test_estimates_are_read_as_far_as_they_make_sense(
    driven: DrivenQueue, opts: dict[str, Any], share: float
) -> None:
    add_budgeted(driven, budgeted(driven, "a", opts=opts))
    driven.start_one()
    assert reserved(driven) == share
