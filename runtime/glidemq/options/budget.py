"""What the jobs of a flow may use together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, cast

import orjson

from glidemq.errors import ValidationError
from glidemq.options.nested import nested_option, unknown_name

OnExceeded = Literal["fail", "pause"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that the jobs of one flow may use together, by what they report with `report_usage`.

    max_total_tokens: tokens of all categories, weighted. max_tokens: by category, plain.
    token_weights: how often a token of a category counts in the total; 1 where none is given.
    max_total_cost, max_costs: in `cost_unit`, in all and by category.
    cost_unit: "usd", say; at most 256 characters, for display.
    on_exceeded: what becomes of a job that the budget has no room for: "fail" with the reason "Budget exceeded", never
        to be retried; or "pause": it waits for a day, or until `Queue.update_flow_budget` makes room.
    A limit of None is none. Source: AI-native features page, budget caps; features page, section 17.
    """

    max_total_tokens: float | None = None
    max_tokens: Mapping[str, float] | None = None
    token_weights: Mapping[str, float] | None = None
    max_total_cost: float | None = None
    max_costs: Mapping[str, float] | None = None
    cost_unit: str | None = None
    on_exceeded: OnExceeded = "fail"


@dataclass(frozen=True, slots=True)
class FlowBudget:
    """A flow's budget as it stands.

    used_tokens: weighted; used_cost: in `cost_unit`. reserved_tokens, reserved_cost: for jobs that run, on top of what
    they have reported; 0 where there is no limit. tokens, costs: what was used, by category.
    exceeded: more was used than a limit allows: no further job starts.
    """

    max_total_tokens: float | None
    max_tokens: dict[str, float]
    token_weights: dict[str, float]
    max_total_cost: float | None
    max_costs: dict[str, float]
    cost_unit: str | None
    on_exceeded: OnExceeded
    used_tokens: float
    used_cost: float
    tokens: dict[str, float]
    costs: dict[str, float]
    reserved_tokens: float
    reserved_cost: float
    exceeded: bool


# Field of the hash by field of `Budget`, in the order in which Node writes them.
WIRE_NAMES: Final = {
    "on_exceeded": "onExceeded",
    "max_total_tokens": "maxTotalTokens",
    "max_tokens": "maxTokens",
    "token_weights": "tokenWeights",
    "max_total_cost": "maxTotalCost",
    "max_costs": "maxCosts",
    "cost_unit": "costUnit",
}
_LIMITS: Final = ("max_total_tokens", "max_tokens", "max_total_cost", "max_costs")
_MOST: Final = 2**53 - 1
_LONGEST_UNIT: Final = 256
_MAX_CATEGORIES: Final = 100


def budget_to_wire(value: object) -> dict[str, str]:
    """The fields of a new budget's hash, of a `Budget` or a mapping with its fields.

    Raises ValidationError: not a budget, no limit at all, a limit that is not a number above 0, weights below 0.
    """
    budget = nested_option(Budget, value, "budget")
    given = {field.name: cast(object, getattr(budget, field.name)) for field in fields(Budget)}
    texts = {
        wire: _text(name, given[name]) for name, wire in WIRE_NAMES.items() if given[name] not in (None, {})
    }
    if not any(WIRE_NAMES[name] in texts for name in _LIMITS):
        raise ValidationError(f"budget needs one of {', '.join(_LIMITS)}")
    return texts


def changes_to_wire(changes: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """What `update_flow_budget` sets, and which limits it takes away (None). Raises ValidationError."""
    for name in changes:
        if name not in WIRE_NAMES:
            raise unknown_name(name, list(WIRE_NAMES), "field of budget")
    if changes.get("on_exceeded", "fail") is None:
        raise ValidationError('budget.on_exceeded must be "fail" or "pause"')
    texts = {
        WIRE_NAMES[name]: _text(name, value) for name, value in changes.items() if value not in (None, {})
    }
    return texts, [WIRE_NAMES[name] for name, value in changes.items() if value in (None, {})]


def _text(name: str, value: object) -> str:
    if name == "on_exceeded":
        if value not in ("fail", "pause"):
            raise ValidationError('budget.on_exceeded must be "fail" or "pause"')
        return str(value)
    if name == "cost_unit":
        if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST_UNIT:
            raise ValidationError(f"budget.cost_unit must be a text of 1 to {_LONGEST_UNIT} characters")
        return value
    if name in ("max_total_tokens", "max_total_cost"):
        return orjson.dumps(_number(f"budget.{name}", value, least_excluded=True)).decode()
    if not isinstance(value, Mapping) or len(cast("Mapping[object, object]", value)) > _MAX_CATEGORIES:
        raise ValidationError(f"budget.{name} must map at most {_MAX_CATEGORIES} categories to numbers")
    numbers: dict[str, float] = {}
    for category, number in cast("Mapping[object, object]", value).items():
        if not isinstance(category, str) or not category:
            raise ValidationError(f"budget.{name} must map names of categories to numbers")
        what = f"budget.{name}[{category!r:.60}]"
        numbers[category] = _number(what, number, least_excluded=name != "token_weights")
    return orjson.dumps(numbers).decode()


def _number(what: str, value: object, *, least_excluded: bool) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not 0 <= value <= _MOST
        or (least_excluded and value == 0)
    ):
        raise ValidationError(f"{what} must be a number {'above 0' if least_excluded else 'of at least 0'}")
    return value


def stored_budget(stored: Mapping[str, str], reserved: Mapping[str, str]) -> FlowBudget:
    """The budget that a hash tells of, whichever library wrote it; what cannot be read there is missing."""
    return FlowBudget(
        max_total_tokens=_read(stored.get("maxTotalTokens")) or None,
        max_tokens=_read_map(stored.get("maxTokens")),
        token_weights=_read_map(stored.get("tokenWeights")),
        max_total_cost=_read(stored.get("maxTotalCost")) or None,
        max_costs=_read_map(stored.get("maxCosts")),
        cost_unit=stored.get("costUnit"),
        on_exceeded="pause" if stored.get("onExceeded") == "pause" else "fail",
        used_tokens=_read(stored.get("usedTokens")),
        used_cost=_read(stored.get("usedCost")),
        tokens=_by_category(stored, "usedTokens:"),
        costs=_by_category(stored, "usedCost:"),
        reserved_tokens=_read(reserved.get("usedTokens")),
        reserved_cost=_read(reserved.get("usedCost")),
        exceeded=stored.get("exceeded") == "1",
    )


def _read(text: str | None) -> float:
    try:
        number = float(text or 0)
    except ValueError:
        return 0
    if not math.isfinite(number):
        return 0
    return int(number) if number.is_integer() else number


def _read_map(text: str | None) -> dict[str, float]:
    try:
        decoded: Any = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(decoded, dict):
        return {}
    items = cast("dict[str, object]", decoded).items()
    return {name: value for name, value in items if isinstance(value, int | float)}


def _by_category(stored: Mapping[str, str], start: str) -> dict[str, float]:
    return {name.removeprefix(start): _read(text) for name, text in stored.items() if name.startswith(start)}
