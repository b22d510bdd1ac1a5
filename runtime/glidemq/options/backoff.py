"""The wait between two attempts of a job."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from glidemq.errors import ValidationError
from glidemq.options.durations import Duration, duration_ms
from glidemq.options.nested import nested_option, seconds

BackoffStrategy: TypeAlias = Callable[[int, BaseException], Duration]
"""Called with the number of failed attempts, this one included, and what the processor raised; returns the seconds
(or timedelta) until the next attempt. It runs where the processor runs and must not block."""

NO_STRATEGIES: Final[Mapping[str, BackoffStrategy]] = MappingProxyType({})
BUILT_IN: Final = ("fixed", "exponential")


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
        """The same wait of `delay` (seconds or timedelta) after every failure, plus `jitter`."""
        return cls("fixed", delay, jitter)

    @classmethod
    def exponential(cls, delay: Duration, *, jitter: float | None = None) -> Backoff:
        """`delay` (seconds or timedelta) after the first failure, twice as long after each further one; `jitter`."""
        return cls("exponential", delay, jitter)

    @classmethod
    def custom(cls, name: str, delay: Duration = 0) -> Backoff:
        """What the processor's strategy of this name says; `delay` (seconds or timedelta) where it has none, or where
        that fails."""
        return cls(name, delay)


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


def check_strategies(strategies: object) -> Mapping[str, BackoffStrategy]:
    """A read-only copy of named strategies; None is none.

    Raises:
        ValidationError: a name that options cannot carry or that has a built-in meaning; no plain function.
    """
    if strategies is None:
        return NO_STRATEGIES
    if not isinstance(strategies, Mapping):
        raise ValidationError("backoff_strategies must be a mapping of names to functions")
    checked = dict(cast("Mapping[object, object]", strategies))
    for name, strategy in checked.items():
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ValidationError(f"a back-off strategy needs a printable name, not {name!r:.40}")
        if name in BUILT_IN:
            raise ValidationError(f"the back-off {name!r} is built in: give the strategy another name")
        if not callable(strategy) or inspect.iscoroutinefunction(strategy):
            raise ValidationError(
                f"back-off strategy {name!r} must be a plain function of (attempts_made, error)"
            )
    return MappingProxyType(cast("dict[str, BackoffStrategy]", checked))


def backoff_from_wire(value: Any) -> Backoff:
    """What is stored. Raises TypeError, KeyError or AttributeError when it is no back-off."""
    return Backoff(str(value["type"]), seconds(value.get("delay", 0)), value.get("jitter"))
