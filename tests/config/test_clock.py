"""The two clocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from glidemq import clock


def test_the_wall_clock_counts_milliseconds_since_the_epoch() -> None:
    before = int(time.time() * 1000)
    assert before - 1 <= clock.wall_ms() <= int(time.time() * 1000) + 1


def test_stored_times_become_aware_datetimes() -> None:
    assert clock.wall_datetime(1_500) == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)


def test_the_monotonic_clocks_are_one_clock_in_two_units() -> None:
    first = clock.monotonic_ns()
    second = clock.monotonic_s()
    third = clock.monotonic_ns()
    assert first <= second * 1e9 + 1e3
    assert second * 1e9 - 1e3 <= third
