"""What a job will use at most: tokens and costs, all together or by category."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, fsum
from typing import Any, Final, NamedTuple, TypeAlias, cast

from glidemq.errors import ValidationError
from glidemq.options.token_limiter import MAX_TOKENS, check_estimate
from glidemq.options.usage import MAX_CATEGORIES, amount, category_name

TokenEstimate: TypeAlias = int | Mapping[str, float]
"""Tokens in all, which count as weighted tokens do; or by category, where none but those named are used."""
CostEstimate: TypeAlias = float | Mapping[str, float]
"""A cost in all, or by category."""

TOKENS_MEMBER: Final = "estimatedTokens"
# Beside the member above, which holds their sum then: token limiters count that.
CATEGORIES_MEMBER: Final = "x-py:estimatedTokens"
COST_MEMBER: Final = "x-py:estimatedCost"


class RunEstimate(NamedTuple):
    """What a queue's jobs are taken to use at most that say nothing themselves; None: nothing is known."""

    tokens: TokenEstimate | None = None
    cost: CostEstimate | None = None

    def member(self) -> dict[str, Any]:
        """The estimate as plain data, for manifests and calls."""
        return {name: False if part is None else part for name, part in self._asdict().items()}

    @classmethod
    def of_member(cls, member: Mapping[str, Any] | None) -> RunEstimate | None:
        """What `member` made of it, perhaps in another version: unknown members do not count."""
        if not member:
            return None
        parts = [member.get(name, False) for name in cls._fields]
        return cls(*(None if part is False else part for part in parts))


def run_estimate(estimated_tokens: object = None, estimated_cost: object = None) -> RunEstimate | None:
    """What a processor's jobs use at most; None if nothing is said. Raises ValidationError."""
    if estimated_tokens is None and estimated_cost is None:
        return None
    return RunEstimate(
        None if estimated_tokens is None else token_estimate(estimated_tokens),
        None if estimated_cost is None else cost_estimate(estimated_cost),
    )


def token_estimate(value: object) -> int | dict[str, float]:
    """`value` if it is an estimate of tokens, else a ValidationError."""
    if not isinstance(value, Mapping):
        return check_estimate(value)
    amounts = _by_category("estimated_tokens", cast("Mapping[object, object]", value))
    if tokens_in_all(amounts) > MAX_TOKENS:
        raise ValidationError("estimated_tokens are too many to be counted together")
    return amounts


def cost_estimate(value: object) -> float | dict[str, float]:
    """`value` if it is an estimate of costs, else a ValidationError."""
    if isinstance(value, Mapping):
        return _by_category("estimated_cost", cast("Mapping[object, object]", value))
    return amount("estimated_cost", value)


def tokens_in_all(estimate: int | Mapping[str, float]) -> int:
    """What an estimate counts for in a token limiter, where categories have no weights."""
    return estimate if isinstance(estimate, int) else ceil(fsum(estimate.values()))


def spread_tokens(wire: dict[str, Any]) -> None:
    """Put an estimate by category, which stands in the member of the sum, where it belongs."""
    estimate = wire.get(TOKENS_MEMBER)
    if isinstance(estimate, dict):
        wire[CATEGORIES_MEMBER] = estimate
        wire[TOKENS_MEMBER] = tokens_in_all(cast("dict[str, float]", estimate))


def gathered_tokens(opts: Mapping[str, Any], in_all: int) -> TokenEstimate:
    """The stored estimate of tokens as it was given; `in_all` unless a readable one by category stands beside it."""
    try:
        return token_estimate(opts.get(CATEGORIES_MEMBER))
    except ValidationError:
        return in_all


def _by_category(name: str, given: Mapping[object, object]) -> dict[str, float]:
    if len(given) > MAX_CATEGORIES:
        raise ValidationError(f"{name} must have at most {MAX_CATEGORIES} categories, not {len(given)}")
    return {category_name(name, key): amount(f"{name}[{key!r:.60}]", value) for key, value in given.items()}
