"""What providers say in response headers about when to come back: seconds, dates, and texts such as `6m0s`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias

from glidemq.clock import wall_ms
from glidemq.errors import ValidationError
from glidemq.options.durations import Duration, duration_ms

Wait: TypeAlias = Duration | datetime | str
"""Seconds or `timedelta` from now, an aware `datetime`, or the text of a header that says either."""

# Whoever says more has to say it again.
LONGEST_MS: Final = 86_400_000
_UNITS_MS: Final = {"ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def wait_ms(value: object, name: str) -> int:
    """Whole milliseconds from now, 0 for a time that has passed, a day at most.

    Raises:
        ValidationError: nothing of what `Wait` allows.
    """
    if isinstance(value, str):
        value = _of_text(value.strip(), name)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValidationError(f"{name} must be an aware datetime")
        return min(max(round(value.timestamp() * 1000) - wall_ms(), 0), LONGEST_MS)
    return min(duration_ms(value, name), LONGEST_MS)


def _of_text(text: str, name: str) -> float | datetime:
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS_MS[unit] for number, unit in parts) / 1000
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            instant = read(text)
        except ValueError:
            continue
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    raise ValidationError(
        f"{name} must be a number of seconds, a time such as 1m30s, or a date, not {text!r:.40}"
    )


def remaining(value: object, name: str) -> int:
    """What is left, as a number or the text of a header.

    Raises:
        ValidationError: neither, or negative.
    """
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValidationError(f"{name} must be a non-negative integer")
    return min(value, 2**53 - 1)
