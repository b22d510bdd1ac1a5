"""A limit on the number of jobs that start per window, as the server library takes it."""

from __future__ import annotations

from typing import NamedTuple


class RateLimitOnWire(NamedTuple):
    """At most `max` starts per window of `duration_ms` milliseconds."""

    max: int
    duration_ms: int

    def members(self) -> dict[str, int]:
        """The map that stands for the limit in a call."""
        return {"max": self.max, "duration_ms": self.duration_ms}


def limiter_member(limiter: RateLimitOnWire | None) -> dict[str, int] | bool:
    """A worker's own limit as the member `limiter` of a call; False without one."""
    return False if limiter is None else limiter.members()
