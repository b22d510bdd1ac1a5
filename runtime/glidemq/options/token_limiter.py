"""A limit on the tokens that a queue's jobs use per window of time, and what a runtime must know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from glidemq.errors import ValidationError
from glidemq.options.durations import Duration, duration_ms
from glidemq.options.limit_key import LimitKey, check_limit_key
from glidemq.options.nested import nested_option

Scope = Literal["worker", "queue", "both"]

# Counters are integers that Lua, too, can count exactly.
MAX_TOKENS = 2**53 - 1


@dataclass(frozen=True, slots=True)
class TokenLimiter:
    """At most `max_tokens` tokens per window of `duration` (seconds or timedelta), by the estimates of the jobs.

    A job starts only if what it is estimated to use is left in the present window; one that must wait stays in the
    queue. Windows are fixed and begin at multiples of `duration`.

    scope: "both" (default): shared by all hosts, each of which takes blocks of tokens to spend without asking again.
        "queue": shared, and counted job by job. "worker": each host has `max_tokens` of its own.
    allow_overtaking: let jobs start that can be afforded while one ahead of them cannot.
    Source: AI-native features page, dual-axis rate limiting; ruling 29.
    """

    max_tokens: int
    duration: Duration
    scope: Scope = "both"
    allow_overtaking: bool = False


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What holds back the jobs of one queue, checked and in milliseconds.

    max_tokens: per window of `window_ms`; 0: no limit of its own. estimated_tokens: of a job that states none; None:
    what jobs with its name have used. limit_key: whose limits these are; None: the queue's alone.
    """

    max_tokens: int = 0
    window_ms: int = 0
    scope: Scope = "both"
    allow_overtaking: bool = False
    estimated_tokens: int | None = None
    limit_key: str | None = None

    def manifest(self) -> dict[str, Any]:
        """The limits as plain data."""
        return asdict(self)

    @classmethod
    def of_manifest(cls, limits: Mapping[str, Any] | None) -> QueueLimits | None:
        """What `manifest` made of them, perhaps in another version: members that are unknown here do not count."""
        if not limits:
            return None
        return cls(**{name: limits[name] for name in cls.__slots__ if name in limits})


def queue_limits(
    token_limiter: object = None, estimated_tokens: object = None, limit_key: LimitKey | None = None
) -> QueueLimits | None:
    """The limits of one queue; None if there are none.

    Raises:
        ValidationError: a limiter, an estimate or a key that cannot be.
    """
    key = None if limit_key is None else check_limit_key(limit_key)
    estimate = None if estimated_tokens is None else check_estimate(estimated_tokens)
    if token_limiter is None:
        return None if key is None else QueueLimits(limit_key=key)
    try:
        limiter = nested_option(TokenLimiter, token_limiter, "token_limiter")
    except TypeError:  # a mapping that lacks one of them
        raise ValidationError("token_limiter needs max_tokens and a duration") from None
    most = cast(object, limiter.max_tokens)
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MAX_TOKENS:
        raise ValidationError("token_limiter.max_tokens must be a positive integer")
    if limiter.scope not in get_args(Scope):
        raise ValidationError('token_limiter.scope must be "worker", "queue" or "both"')
    if not isinstance(cast(object, limiter.allow_overtaking), bool):
        raise ValidationError("token_limiter.allow_overtaking must be True or False")
    window_ms = duration_ms(limiter.duration, "token_limiter.duration", positive=True)
    return QueueLimits(most, window_ms, limiter.scope, limiter.allow_overtaking, estimate, key)


def check_estimate(value: object) -> int:
    """`value` if it is a possible number of tokens, else a ValidationError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TOKENS:
        raise ValidationError("estimated_tokens must be a non-negative integer, or map categories to numbers")
    return value


def check_reported(value: object) -> int:
    """A number of used tokens that a processor reports, else a ValidationError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValidationError("Token count must be an integer")
    if value < 0:
        raise ValidationError("Token count must not be negative")
    if value > MAX_TOKENS:
        raise ValidationError("Token count is too large to be counted")
    return value
