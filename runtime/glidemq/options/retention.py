"""Which finished jobs a queue keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glidemq.errors import ValidationError
from glidemq.options.durations import Duration, duration_ms
from glidemq.options.nested import count, nested_option


@dataclass(frozen=True, slots=True)
class Retention:
    """Which finished jobs to keep: those up to `age` old (seconds or timedelta), at most `count` of them."""

    age: Duration | None = None
    count: int | None = None


def retention_to_wire(value: object, name: str) -> bool | int | dict[str, Any]:
    """True, False, a number to keep, or {age, count}; `age` alone of the wire's durations is in seconds."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return count(value, f"{name} must be True, False, a non-negative integer or a Retention")
    retention = nested_option(Retention, value, name)
    wire: dict[str, Any] = {}
    if retention.age is not None:
        age = duration_ms(retention.age, f"{name}.age") / 1000
        wire["age"] = int(age) if age.is_integer() else age
    if retention.count is not None:
        wire["count"] = count(retention.count, f"{name}.count must be a non-negative integer")
    if not wire:
        raise ValidationError(f"{name} needs an age, a count or both")
    return wire


def retention_from_wire(value: Any) -> bool | int | Retention:
    """What is stored; raises AttributeError when it is none of the three forms."""
    if isinstance(value, (bool, int)):
        return value
    return Retention(value.get("age"), value.get("count"))
