"""Ordering groups: jobs with one key, run in the order of their adds, within limits of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from glidemq.errors import ValidationError
from glidemq.options.names import check_ordering_key
from glidemq.options.nested import MAX_COUNT, nested_option, seconds
from glidemq.options.rate_limit import RateLimit, rate_limit_to_wire

# The server's scripts write numbers with 14 digits, and count thousandths of tokens.
MAX_TOKENS = 10**10
MILLITOKENS = 1000
DEFAULT_COST = MILLITOKENS


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """At most `capacity` tokens, of which `refill_rate` flow in per second; the start of a job takes its `cost`.

    Source: features page, section 11.
    """

    capacity: float
    refill_rate: float


@dataclass(frozen=True, slots=True)
class Ordering:
    """The group that a job belongs to. The last add to a group settles its limits; one without takes them away.

    key: names the group: at most 256 characters. Jobs of one group start in the order of their adds; none overtakes
        another, also while that is delayed.
    concurrency: how many of them may run at once; 1 (default): each after the one before has ended, retries included.
    rate_limit: how many of them may start per window, retries included; a `RateLimit` or a mapping with its fields.
    token_bucket: what their starts may cost; a `TokenBucket` or a mapping with its fields.
    All that is given applies. Source: features page, section 11.
    """

    key: str
    concurrency: int = 1
    rate_limit: RateLimit | Mapping[str, Any] | None = None
    token_bucket: TokenBucket | Mapping[str, Any] | None = None


class GroupOnWire(NamedTuple):
    """A job's group as an add's row has it; amounts in thousandths of tokens, 0 for what is not limited."""

    key: str
    concurrency: int
    rate_max: int
    rate_duration_ms: int
    tb_capacity: int
    tb_refill: int

    def members(self) -> dict[str, Any]:
        """The map that stands for the group in a row."""
        members: dict[str, Any] = {"key": self.key, "concurrency": self.concurrency}
        if self.rate_max:
            members |= {"rate_max": self.rate_max, "rate_duration_ms": self.rate_duration_ms}
        if self.tb_capacity:
            members |= {"tb_capacity": self.tb_capacity, "tb_refill": self.tb_refill}
        return members


def ordering_to_wire(value: object) -> dict[str, Any]:
    """{key, concurrency unless 1, rateLimit, tokenBucket}, as the Node library stores it.

    Raises:
        ValidationError: with the documented sentence.
    """
    try:
        ordering = nested_option(Ordering, value, "ordering")
    except TypeError:  # a mapping without a key
        raise ValidationError("ordering needs a key") from None
    wire: dict[str, Any] = {"key": check_ordering_key(ordering.key)}
    concurrency = cast(object, ordering.concurrency)
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 1 <= concurrency <= MAX_COUNT:
        raise ValidationError("ordering.concurrency must be a positive integer")
    if concurrency != 1:
        wire["concurrency"] = concurrency
    if ordering.rate_limit is not None:
        wire["rateLimit"] = rate_limit_to_wire(ordering.rate_limit, "ordering.rate_limit")
    if ordering.token_bucket is not None:
        wire["tokenBucket"] = _token_bucket_to_wire(ordering.token_bucket)
    return wire


def _token_bucket_to_wire(value: object) -> dict[str, Any]:
    try:
        bucket = nested_option(TokenBucket, value, "token_bucket")
    except TypeError:
        raise ValidationError("token_bucket needs a capacity and a refill_rate") from None
    return {
        "capacity": _amount(
            bucket.capacity, "token_bucket.capacity must be a positive finite number", positive=True
        ),
        "refillRate": _amount(
            bucket.refill_rate, "token_bucket.refill_rate must be a positive finite number", positive=True
        ),
    }


def cost_to_wire(value: object) -> float:
    """A cost in tokens, checked."""
    return _amount(value, "cost must be a non-negative finite number", positive=False)


def _amount(value: object, sentence: str, *, positive: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < math.inf:
        raise ValidationError(sentence)
    if value < 0 or (positive and value == 0):
        raise ValidationError(sentence)
    if value > MAX_TOKENS or (value and not millitokens(value)):
        raise ValidationError(f"{sentence}, from 0.001 to {MAX_TOKENS}")
    return value


def millitokens(tokens: float) -> int:
    """Thousandths of tokens, rounded as the Node library does."""
    return math.floor(tokens * MILLITOKENS + 0.5)


def group_on_wire(wire: Mapping[str, Any], cost: int) -> GroupOnWire:
    """The row's group of checked options; `cost` is the job's in millitokens, 0 for the default.

    Raises:
        ValidationError: the job could never start.
    """
    rate, bucket = wire.get("rateLimit", {}), wire.get("tokenBucket", {})
    capacity = millitokens(bucket.get("capacity", 0))
    if capacity and (cost or DEFAULT_COST) > capacity:
        raise ValidationError("Job cost exceeds token bucket capacity")
    return GroupOnWire(
        wire["key"],
        wire.get("concurrency", 1),
        rate.get("max", 0),
        rate.get("duration", 0),
        capacity,
        millitokens(bucket.get("refillRate", 0)),
    )


def cost_from_wire(value: Any) -> float:
    """A stored cost, whole numbers as such. Raises TypeError for what is no number."""
    if not isinstance(value, (int, float)):
        raise TypeError("no number")
    return value


def ordering_from_wire(value: Any) -> Ordering:
    """What is stored. Raises TypeError, KeyError or AttributeError when it is no ordering."""
    rate, bucket = value.get("rateLimit"), value.get("tokenBucket")
    return Ordering(
        str(value["key"]),
        int(value.get("concurrency", 1)),
        RateLimit(rate["max"], seconds(rate["duration"])) if rate else None,
        TokenBucket(bucket["capacity"], bucket["refillRate"]) if bucket else None,
    )
