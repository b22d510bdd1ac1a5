"""What a job's calls to models have used: how it is reported, and how it reads afterwards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, NamedTuple, cast

import orjson

from glidemq.errors import ValidationError
from glidemq.options.durations import Duration, duration_ms

# What a double still counts exactly.
MAX_AMOUNT: Final = 2**53
# Each is a field of the bucket of the minute.
MAX_CATEGORIES: Final = 100
MAX_TEXT_CHARACTERS: Final = 256


@dataclass(frozen=True, slots=True)
class JobUsage:
    """What a job has used, all its attempts together. Source: features page, section 14.

    model, provider: of the latest report that names one.
    tokens: by category; input, output, reasoning, cachedInput and cachedOutput are well known, any other may be used.
    total_tokens: the sum of `tokens` unless the report said otherwise.
    costs, total_cost: likewise, in `cost_unit` ("usd", "credits" …).
    latency: seconds.
    cached: whether the answer came out of a cache.
    """

    model: str | None = None
    provider: str | None = None
    tokens: Mapping[str, float] = field(default_factory=dict[str, float])
    total_tokens: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict[str, float])
    total_cost: float | None = None
    cost_unit: str | None = None
    latency: float | None = None
    cached: bool | None = None


class UsageReport(NamedTuple):
    """A checked report in its wire form: `usage` holds all but the two maps, absent members left out."""

    usage: Mapping[str, Any]
    tokens: Mapping[str, float]
    costs: Mapping[str, float]


def usage_report(
    *,
    model: str | None,
    provider: str | None,
    tokens: Mapping[str, float] | None,
    total_tokens: float | None,
    costs: Mapping[str, float] | None,
    total_cost: float | None,
    cost_unit: str | None,
    latency: Duration | None,
    cached: bool | None,
) -> UsageReport:
    """Check what a processor reports, and fill the totals in.

    Raises:
        ValidationError: an amount that is negative or not finite, too many categories, or a value of the wrong type.
    """
    usage: dict[str, Any] = {}
    for name, wire_name, text in (
        ("model", "model", model),
        ("provider", "provider", provider),
        ("cost_unit", "costUnit", cost_unit),
    ):
        if text is not None:
            usage[wire_name] = _text(name, text)
    token_counts = _amounts("tokens", "Token count", tokens)
    cost_amounts = _amounts("costs", "Cost", costs)
    for name, wire_name, total, parts in (
        ("total_tokens", "totalTokens", total_tokens, token_counts),
        ("total_cost", "totalCost", total_cost, cost_amounts),
    ):
        if total is not None:
            usage[wire_name] = amount(name, total)
        elif parts:
            usage[wire_name] = amount(name, math.fsum(parts.values()))
    if latency is not None:
        usage["latencyMs"] = _latency_ms(latency)
    if cached is not None:
        if not isinstance(cached, bool):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError("cached must be True or False")
        usage["cached"] = cached
    if not (usage or token_counts or cost_amounts):
        raise ValidationError("a usage report must say something: a model, tokens, costs …")
    return UsageReport(usage, token_counts, cost_amounts)


def _text(name: str, value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_TEXT_CHARACTERS and _is_unicode(value):
        return value
    raise ValidationError(f"{name} must be a text of 1 to {MAX_TEXT_CHARACTERS} characters")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def category_name(name: str, value: object) -> str:
    """`value` if it can be a category of `name`, else a ValidationError."""
    return _text(f"a category of {name}", value)


def amount(what: str, value: object) -> float:
    """`value` if it can be counted, whole numbers as int, else a ValidationError."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not 0 <= value <= MAX_AMOUNT
    ):
        raise ValidationError(f"{what} must be a finite non-negative number")
    return int(value) if value == int(value) else value


def _amounts(name: str, what: str, given: object) -> dict[str, float]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ValidationError(
            f"{name} must be a mapping of categories to numbers, not {type(given).__name__}"
        )
    amounts = cast("Mapping[object, object]", given)
    if len(amounts) > MAX_CATEGORIES:
        raise ValidationError(f"{name} must have at most {MAX_CATEGORIES} categories, not {len(amounts)}")
    return {category_name(name, key): amount(f"{what} for '{key}'", n) for key, n in amounts.items()}


def _latency_ms(latency: Duration) -> float:
    """Milliseconds, of which processors measure fractions."""
    if isinstance(latency, timedelta):
        return duration_ms(latency, "latency")
    milliseconds = amount("latency", latency) * 1000
    return amount("latency", round(milliseconds, 3))


# -- reading it back -------------------------------------------------------------------------------------


def usage_from_fields(fields: Mapping[str, Any]) -> JobUsage | None:
    """The usage in a job's hash, or None when nothing was ever reported. Tolerant: others write these fields too."""
    texts = {name: fields.get(f"usage:{name}") for name in _WIRE_NAMES}
    if not any(texts.values()):
        return None
    members: dict[str, Any] = {}
    for name, raw in texts.items():
        if raw:
            members[name] = raw.decode("utf-8", "replace") if name in _TEXTS else _json(raw)
    if "cached" in members:
        members["cached"] = members["cached"] == 1
    return usage_from_wire(members)


def usage_from_json(raw: bytes) -> JobUsage:
    """The usage of an event or a reply.

    Raises:
        ValueError: `raw` is no JSON object.
    """
    members = orjson.loads(raw)
    if not isinstance(members, dict):
        raise ValueError("usage must be a JSON object")
    return usage_from_wire(cast("dict[str, Any]", members))


def usage_from_wire(members: Mapping[str, Any]) -> JobUsage:
    """A usage from its wire members; what makes no sense is left out."""
    latency_ms = _number(members.get("latencyMs"))
    cached = members.get("cached")
    return JobUsage(
        model=_or_none(members.get("model")),
        provider=_or_none(members.get("provider")),
        tokens=_numbers(members.get("tokens")),
        total_tokens=_number(members.get("totalTokens")),
        costs=_numbers(members.get("costs")),
        total_cost=_number(members.get("totalCost")),
        cost_unit=_or_none(members.get("costUnit")),
        latency=None if latency_ms is None else latency_ms / 1000,
        cached=cached if isinstance(cached, bool) else None,
    )


_TEXTS: Final = frozenset({"model", "provider", "costUnit"})
_WIRE_NAMES: Final = (
    "model", "provider", "tokens", "totalTokens", "costs", "totalCost", "costUnit", "latencyMs", "cached",
)  # fmt: skip


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _numbers(value: object) -> Mapping[str, float]:
    if not isinstance(value, dict):
        return {}
    found = {key: _number(number) for key, number in cast("dict[str, object]", value).items()}
    return {key: number for key, number in found.items() if number is not None}
