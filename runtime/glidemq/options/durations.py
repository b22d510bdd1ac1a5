"""Durations: seconds or `timedelta` in the public API, whole milliseconds everywhere beneath it."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TypeAlias

from glidemq.errors import ValidationError

Duration: TypeAlias = int | float | timedelta
"""Seconds as a number, or a `timedelta`."""

# A due time shares its number with the priority (score = priority * 2**42 + due_ms), so it must stay below
# 2**42, the year 2109. A delay of up to 2**41 ms (69 years) does so until 2039.
MAX_DURATION_MS = 2**41

# Above this a bare number of seconds is far more likely to be milliseconds carried over from a Node program.
PORTING_SLIP_SECONDS = 1000


def duration_ms(
    value: object, name: str, *, positive: bool = False, sentence: str | None = None, bare_limit: bool = False
) -> int:
    """Whole milliseconds of a duration.

    A positive duration below half a millisecond becomes 1 ms, since 0 means "none" for most options.

    Args:
        value: seconds (int or float, not bool) or a timedelta.
        name: the option's public name, for the message.
        positive: refuse 0.
        sentence: the message to raise instead of the general one, where the documents give one.
        bare_limit: refuse a bare number of 1000 or more as a number of milliseconds that was carried over.

    Raises:
        ValidationError: not a duration, not finite, negative, zero where `positive`, or 69 years and more.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and _is_finite(value):
        seconds = value
        if bare_limit and seconds >= PORTING_SLIP_SECONDS:
            raise _porting_slip(name, value)
    else:
        raise ValidationError(sentence or _general_sentence(name, positive))
    if seconds < 0 or (positive and seconds == 0):
        raise ValidationError(sentence or _general_sentence(name, positive))
    milliseconds = round(seconds * 1000)
    if milliseconds >= MAX_DURATION_MS:
        raise ValidationError(f"{name} must be less than 69 years; durations are in seconds")
    return milliseconds or (1 if seconds > 0 else 0)


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int too large for a float
        return False


def _general_sentence(name: str, positive: bool) -> str:
    kind = "positive" if positive else "non-negative"
    return f"{name} must be a {kind} finite number of seconds or a timedelta"


def _porting_slip(name: str, value: int | float) -> ValidationError:
    return ValidationError(
        f"{name}={value:_} means {timedelta(seconds=int(min(value, 86_400 * 36_500)))}: durations are in"
        f" seconds, so {value:_} milliseconds are {name}={value / 1000:g};"
        f" pass a timedelta for {PORTING_SLIP_SECONDS} seconds and more"
    )
