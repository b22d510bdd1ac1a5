"""A limit on how many jobs start per window of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from glidemq.errors import ValidationError
from glidemq.options.durations import Duration, duration_ms
from glidemq.options.nested import MAX_COUNT, nested_option


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `max` starts per window of `duration` (seconds or timedelta). Source: features page, section 8."""

    max: int
    duration: Duration


def rate_limit_to_wire(value: object, name: str) -> dict[str, Any]:
    """{max, duration in ms} of a `RateLimit` or a mapping with its fields.

    Raises:
        ValidationError: not a rate limit, or a max below 1, or a duration that is none or zero.
    """
    try:
        limit = nested_option(RateLimit, value, name)
    except TypeError:  # a mapping that lacks one of them
        raise ValidationError(f"{name} needs a max and a duration") from None
    most = cast(object, limit.max)
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MAX_COUNT:
        raise ValidationError(f"{name}.max must be a positive integer")
    return {"max": most, "duration": duration_ms(limit.duration, f"{name}.duration", positive=True)}
