"""The two clocks: one fit for storing, one fit for measuring. Mixing them up is how jobs run an hour late."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def wall_ms() -> int:
    """Milliseconds since the epoch. Fit for storing and for comparing with what the server stored.

    It may jump (NTP, an operator, a suspended machine), so never measure a duration with it.
    """
    return time.time_ns() // 1_000_000


def wall_datetime(epoch_ms: int) -> datetime:
    """The aware UTC datetime of a stored epoch-milliseconds value."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def monotonic_s() -> float:
    """Seconds on a clock that never jumps. Fit for durations and deadlines, meaningless elsewhere."""
    return time.monotonic()


def monotonic_ns() -> int:
    """Nanoseconds on the same clock as `monotonic_s`; comparable between processes of one boot on Linux."""
    return time.monotonic_ns()
