"""The wait between two attempts of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from glidemq.errors import ValidationError
from glidemq.options.durations import Duration, duration_ms
from glidemq.options.nested import nested_option, seconds


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a failed job waits before its next attempt.

    type: "fixed" (always `delay`), "exponential" (`delay` * 2**(n-1) after the n-th failure), or the name of
        a custom strategy of the processor.
    delay: seconds or timedelta.
    jitter: adds a random part of up to `jitter` * the computed wait; 0.1 adds up to 10 %.
    Source: features page, section 12.
    """

    type: str = "fixed"
    delay: Duration = 0
    jitter: float | None = None

    @classmethod
    def fixed(cls, delay: Duration, *, jitter: float | None = None) -> Backoff:
        """The same wait of `delay` seconds after every failure."""
        return cls("fixed", delay, jitter)

    @classmethod
    def exponential(cls, delay: Duration, *, jitter: float | None = None) -> Backoff:
        """`delay` seconds after the first failure, twice as long after each further one."""
        return cls("exponential", delay, jitter)


def backoff_to_wire(value: object) -> dict[str, Any]:
    """{type, delay in ms, jitter if given}."""
    backoff = nested_option(Backoff, value, "backoff")
    kind = cast(object, backoff.type)
    if not isinstance(kind, str) or not kind or not kind.isprintable():
        raise ValidationError('backoff.type must be "fixed", "exponential" or the name of a custom strategy')
    wire: dict[str, Any] = {"type": kind, "delay": duration_ms(backoff.delay, "backoff.delay")}
    jitter = cast(object, backoff.jitter)
    if jitter is not None:
        if isinstance(jitter, bool) or not isinstance(jitter, (int, float)) or not 0 <= jitter <= 1e6:
            raise ValidationError("backoff.jitter must be a non-negative finite number")
        wire["jitter"] = jitter
    return wire


def backoff_from_wire(value: Any) -> Backoff:
    """What is stored. Raises TypeError, KeyError or AttributeError when it is no back-off."""
    return Backoff(str(value["type"]), seconds(value.get("delay", 0)), value.get("jitter"))
