"""Seconds, timedeltas, and milliseconds that were meant as such."""

from __future__ import annotations

from datetime import timedelta

import pytest

from glidemq.config import SLIP_SECONDS, duration_s, parse_duration
from glidemq.errors import ConfigurationError


@pytest.mark.parametrize(
    ("value", "seconds"), [(1, 1.0), (0.25, 0.25), (timedelta(milliseconds=5), 0.005), (0, 0.0)]
)
def test_numbers_are_seconds(value: object, seconds: float) -> None:
    assert duration_s(value, "x") == seconds


def test_a_number_that_is_surely_milliseconds_is_refused_with_what_was_meant() -> None:
    with pytest.raises(ConfigurationError) as caught:
        duration_s(30_000, "lock_duration", slip_at=SLIP_SECONDS)
    assert str(caught.value) == (
        "lock_duration is in seconds, and 30000 is over 8 hours: if milliseconds were meant, give 30; "
        "pass timedelta for long ones"
    )


def test_the_bound_of_slips_is_a_thousand_and_does_not_hold_for_timedeltas() -> None:
    assert duration_s(999.9, "x", slip_at=SLIP_SECONDS) == 999.9
    with pytest.raises(ConfigurationError):
        duration_s(1000, "x", slip_at=SLIP_SECONDS)
    assert duration_s(timedelta(hours=2), "x", slip_at=SLIP_SECONDS) == 7200.0
    assert duration_s(30_000, "x") == 30_000.0


@pytest.mark.parametrize("value", [True, "1", None, [1], float("nan"), float("inf"), -1])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^x "):
        duration_s(value, "x")


def test_bounds_are_named() -> None:
    with pytest.raises(ConfigurationError, match="x must be between 1 and 2 seconds, not 3"):
        duration_s(3, "x", minimum=1, maximum=2)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30", 30.0),
        ("0.5", 0.5),
        (" 2 ", 2.0),
        ("500ms", timedelta(milliseconds=500)),
        ("20 s", timedelta(seconds=20)),
        ("1.5m", timedelta(seconds=90)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
    ],
)
def test_texts_are_read_with_and_without_a_unit(text: str, value: object) -> None:
    assert parse_duration(text, "x") == value


@pytest.mark.parametrize("text", ["", "soon", "-1", "1e3", "5 weeks", "1m30s", "٣"])
def test_texts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="x must look like"):
        parse_duration(text, "x")
