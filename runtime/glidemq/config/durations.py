"""Durations as the public API takes them: seconds or `timedelta`, and never milliseconds by mistake."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from glidemq.errors import ConfigurationError

# The reference takes milliseconds. Where no sane value in seconds reaches this, a bare number that does is a
# porting slip: 1000 s as a lock would leave a dead host's jobs untouched for a quarter of an hour.
SLIP_SECONDS = 1000.0

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*", re.ASCII)


class Seconds(float):
    """Seconds that have been checked: a copy of a configuration does not take them for milliseconds."""


def duration_s(
    value: object,
    name: str,
    *,
    minimum: float = 0.0,
    maximum: float = math.inf,
    slip_at: float = math.inf,
    remedy: str = "pass timedelta for long ones",
) -> Seconds:
    """Check a duration and return it in seconds.

    `value` is an int or float (seconds) or a `timedelta`. A bare number of at least `slip_at` is refused,
    because it can only have been meant as milliseconds; a `timedelta` of that length is accepted.

    Raises:
        ConfigurationError: of the wrong type, not finite, out of range, or surely milliseconds.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
        if slip_at <= seconds < math.inf and not isinstance(value, Seconds):
            raise ConfigurationError(
                f"{name} is in seconds, and {value:g} is {_spoken(seconds)}: "
                f"if milliseconds were meant, give {seconds / 1000:g}; {remedy}"
            )
    else:
        raise ConfigurationError(
            f"{name} must be a number of seconds or a timedelta, not {type(value).__name__}"
        )
    if not math.isfinite(seconds) or not minimum <= seconds <= maximum:
        bounds = f"at least {minimum:g}" if math.isinf(maximum) else f"between {minimum:g} and {maximum:g}"
        raise ConfigurationError(f"{name} must be {bounds} seconds, not {seconds:g}")
    return Seconds(seconds)


def parse_duration(text: str, name: str) -> float | timedelta:
    """Read a duration from a variable, a file or a command line: `30`, `0.5`, `500ms`, `20m`, `1h`.

    A text with a unit comes back as a `timedelta`, since its author has said what was meant.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{name} must look like 30, 0.5, 500ms, 20m or 1h, not {text!r}")
    number, unit = match.groups()
    return float(number) if unit is None else timedelta(seconds=float(number) * _UNITS[unit])


def _spoken(seconds: float) -> str:
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"over {int(seconds // 3600)} hours"
