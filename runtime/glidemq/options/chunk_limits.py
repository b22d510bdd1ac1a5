"""How much of a job's stream is kept, and for how long."""

from __future__ import annotations

from glidemq.errors import ValidationError
from glidemq.options.durations import duration_ms
from glidemq.options.nested import MAX_COUNT


def stream_limit(value: object) -> int:
    """`value` if it is a positive integer, else a ValidationError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_COUNT:
        raise ValidationError("stream_limit must be a positive integer")
    return value


def stream_ttl_ms(value: object) -> int:
    """Whole milliseconds of a positive duration, else a ValidationError."""
    return duration_ms(value, "stream_ttl", positive=True)
