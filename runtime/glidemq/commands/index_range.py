"""The check of `start` and `end` that all listing commands share."""

from __future__ import annotations

from glidemq.errors import ValidationError


def check_range(start: object, end: object) -> None:
    """Raise ValidationError with the documented texts unless start..end is a range of integer positions."""
    for name, value in (("start", start), ("end", end)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValidationError(f"{name} must be an integer")
    assert isinstance(start, int) and isinstance(end, int)
    if start >= 0 and end >= 0 and end < start:
        raise ValidationError("end must be >= start when both are non-negative")
