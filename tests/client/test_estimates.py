"""Estimates of tokens and costs, in all or by category, are checked before anything is sent and keep their form."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from glidemq import App, TokenLimiter, ValidationError, Worker
from glidemq.options import from_wire, to_wire
from glidemq.options.estimates import RunEstimate


async def process(job: Any) -> None: ...


@pytest.mark.parametrize(
    ("options", "members"),
    [
        (
            {"estimated_tokens": {"input": 1000, "output": 200.5}},
            {"estimatedTokens": 1201, "x-py:estimatedTokens": {"input": 1000, "output": 200.5}},
        ),
        ({"estimated_tokens": {}}, {"estimatedTokens": 0, "x-py:estimatedTokens": {}}),
        ({"estimated_cost": 0.25}, {"x-py:estimatedCost": 0.25}),
        ({"estimated_cost": {"output": 0.25}}, {"x-py:estimatedCost": {"output": 0.25}}),
        ({"estimated_tokens": 0, "estimated_cost": 0}, {"estimatedTokens": 0, "x-py:estimatedCost": 0}),
    ],
)
def test_estimates_by_category_come_over_the_wire_and_back(
    options: dict[str, Any], members: dict[str, Any]
) -> None:
    assert orjson.loads(to_wire(options).json) == members
    assert from_wire(members) == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimated_tokens": "many"}, "must be a non-negative integer, or map categories to numbers"),
        (
            {"estimated_tokens": {"output": -1}},
            r"estimated_tokens\['output'\] must be a finite non-negative number",
        ),
        ({"estimated_tokens": {"output": True}}, r"estimated_tokens\['output'\] must be a finite"),
        ({"estimated_tokens": {"": 1}}, "a category of estimated_tokens must be a text of 1 to 256"),
        ({"estimated_tokens": {5: 1}}, "a category of estimated_tokens must be a text"),
        ({"estimated_tokens": {str(n): 1 for n in range(101)}}, "must have at most 100 categories, not 101"),
        ({"estimated_tokens": {"a": 2**53, "b": 1}}, "too many to be counted together"),
        ({"estimated_cost": -0.5}, "estimated_cost must be a finite non-negative number"),
        ({"estimated_cost": float("inf")}, "estimated_cost must be a finite"),
        ({"estimated_cost": True}, "estimated_cost must be a finite"),
        ({"estimated_cost": "0.5"}, "estimated_cost must be a finite"),
        ({"estimated_cost": {"output": float("nan")}}, r"estimated_cost\['output'\] must be a finite"),
        ({"estimated_costs": 1}, "did you mean 'estimated_cost'"),
    ],
)
def test_estimates_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        to_wire(options)


@pytest.mark.parametrize("options", [{"estimated_tokens": {"a": -1}}, {"estimated_cost": "much"}])
def test_impossible_estimates_of_a_processor_are_refused_by_app_and_worker(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="estimated_"):
        App().processor("q", **options)
    with pytest.raises(ValidationError, match="estimated_"):
        Worker("q", process, connection="valkey://127.0.0.1:1", **options)


def test_stored_estimates_are_read_as_far_as_they_make_sense() -> None:
    assert from_wire({"estimatedTokens": 12.5}) == {"estimated_tokens": 12}
    odd = {"estimatedTokens": 5, "x-py:estimatedTokens": {"output": -5}, "x-py:estimatedCost": "much"}
    assert from_wire(odd) == {"estimated_tokens": 5}


def test_processors_estimates_travel_as_plain_data() -> None:
    app = App()
    app.processor("q", estimated_tokens={"output": 20}, token_limiter=TokenLimiter(1000, 60))(process)
    processor = app.processors["q"]
    assert processor.limits is not None and processor.limits.estimated_tokens == 20
    assert processor.estimate == RunEstimate({"output": 20}, None)
    manifest = orjson.loads(orjson.dumps(app.manifest()))["queues"][0]["estimate"]
    assert manifest == {"tokens": {"output": 20}, "cost": False}
    assert RunEstimate.of_member({**manifest, "from_a_later_version": 1}) == processor.estimate
    assert RunEstimate.of_member({"cost": 0}) == RunEstimate(None, 0)
    assert RunEstimate.of_member(None) is None
