"""Deduplication: adds that repeat an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast, get_args

from glidemq.errors import ValidationError
from glidemq.options.durations import Duration, duration_ms
from glidemq.options.nested import nested_option, seconds

DeduplicationMode = Literal["simple", "throttle", "debounce"]

MODES: tuple[str, ...] = get_args(DeduplicationMode)
MAX_ID_UNITS = 256


@dataclass(frozen=True, slots=True)
class Deduplication:
    """Which adds repeat an earlier one, and what becomes of them. `Queue.add` returns None for a skipped one.

    id: adds with the same id, of at most 256 characters, repeat each other. It is none of the job's id.
    ttl: seconds or timedelta, the window of `throttle` and `debounce`, which need one.
    mode:
        "simple" (default): skipped while the earlier job exists, in whatever state;
        "throttle": skipped until `ttl` after the last accepted add;
        "debounce": the job is delayed by `ttl`, or its longer `delay`; the next add removes it if nobody has started
            it by then, and takes its place with a window of its own. One that has started neither blocks nor is
            cancelled.
    Source: features page, section 10.
    """

    id: str
    ttl: Duration | None = None
    mode: DeduplicationMode = "simple"


class DeduplicationOnWire(NamedTuple):
    """The same as an add's row has it."""

    id: str
    mode: str
    ttl_ms: int

    def members(self) -> dict[str, Any]:
        """The map that stands for it in a row."""
        return {"id": self.id, "mode": self.mode, "ttl_ms": self.ttl_ms}


def deduplication_to_wire(value: object) -> dict[str, Any]:
    """{id, mode, ttl if given}, as the Node library stores it.

    Raises:
        ValidationError: no id, an unknown mode, or one that lacks its ttl.
    """
    try:
        given = nested_option(Deduplication, value, "deduplication")
    except TypeError:  # a mapping without an id
        raise ValidationError("deduplication needs an id") from None
    if given.mode not in MODES:
        raise ValidationError(
            f"deduplication.mode must be 'simple', 'throttle' or 'debounce', not {given.mode!r:.40}"
        )
    wire: dict[str, Any] = {"id": _check_id(given.id), "mode": given.mode}
    if given.ttl is not None:
        wire["ttl"] = duration_ms(given.ttl, "deduplication.ttl", positive=True)
    elif given.mode != "simple":
        raise ValidationError(f"deduplication.mode {given.mode!r} needs a ttl")
    return wire


def _check_id(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValidationError(f"deduplication.id must be a non-empty string, not {value!r:.40}")
    try:
        units = len(value.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise ValidationError(
            "deduplication.id must be valid Unicode text: it contains a lone surrogate"
        ) from None
    if units > MAX_ID_UNITS:
        raise ValidationError("deduplication.id must be at most 256 characters")
    return value


def deduplication_on_wire(wire: Mapping[str, Any]) -> DeduplicationOnWire:
    """The row's member of checked options."""
    return DeduplicationOnWire(wire["id"], wire["mode"], wire.get("ttl", 0))


def deduplication_from_wire(value: Any) -> Deduplication:
    """What is stored. Raises TypeError, KeyError, ValueError or AttributeError when it is no deduplication."""
    mode = value.get("mode", "simple")
    if mode not in MODES:
        raise ValueError("unknown mode")
    ttl = value.get("ttl")
    return Deduplication(
        str(value["id"]), seconds(ttl) if ttl is not None else None, cast(DeduplicationMode, mode)
    )
