"""A limit on the number of jobs that start per window, as the server library takes it."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.options.rate_limit import rate_limit_to_wire


class RateLimitOnWire(NamedTuple):
    """At most `max` starts per window of `duration_ms` milliseconds."""

    max: int
    duration_ms: int

    @classmethod
    def of(cls, value: object, name: str) -> RateLimitOnWire:
        """A `RateLimit`, or a mapping with its fields. Raises ValidationError for anything else, naming it `name`."""
        limit = rate_limit_to_wire(value, name)
        return cls(limit["max"], limit["duration"])

    def members(self) -> dict[str, int]:
        """The map that stands for the limit in a call."""
        return {"max": self.max, "duration_ms": self.duration_ms}


def limiter_member(limiter: RateLimitOnWire | None) -> dict[str, int] | bool:
    """A worker's own limit as the member `limiter` of a call or a manifest; False without one."""
    return False if limiter is None else limiter.members()


def limiter_of(member: Any) -> RateLimitOnWire | None:
    """The limit that `limiter_member` has written."""
    return RateLimitOnWire(int(member["max"]), int(member["duration_ms"])) if member else None
