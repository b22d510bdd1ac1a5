"""What a suspended job waits for: the signals that it was sent, and how it waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from glidemq.job.stored_values import instant, number
from glidemq.serializer import load_json

MAX_SIGNAL_NAME = 256
SUSPENDED = b"suspended"


@dataclass(frozen=True, slots=True)
class Signal:
    """A message for a job: its name, its data (JSON values, None for none), and when the server took it (UTC)."""

    name: str
    data: Any
    received_at: datetime


@dataclass(frozen=True, slots=True)
class SuspendInfo:
    """How a job waits.

    reason: what its processor gave, or None. suspended_at: since when (UTC). timeout: for how many seconds at most,
    None is for ever. signals: those of earlier waits, oldest first.
    """

    reason: str | None
    suspended_at: datetime
    timeout: float | None
    signals: tuple[Signal, ...]


def signals_from(raw: bytes | None) -> tuple[Signal, ...]:
    """The signals of a job hash's field `signals`; what makes no sense is left out."""
    if not raw:
        return ()
    try:
        entries: object = load_json(raw)
    except ValueError:
        return ()
    listed = cast("list[object]", entries) if isinstance(entries, list) else []
    return tuple(signal for entry in listed if (signal := _signal(entry)) is not None)


def _signal(entry: object) -> Signal | None:
    if not isinstance(entry, dict):
        return None
    fields = cast("dict[str, Any]", entry)
    received_at = instant(fields.get("receivedAt"))
    if received_at is None:
        return None
    return Signal(str(fields.get("name", "")), _data(fields.get("data")), received_at)


def _data(stored: object) -> Any:
    """A payload is stored as the text of a JSON value; an empty text is none."""
    if not isinstance(stored, str):
        return stored
    if not stored:
        return None
    try:
        return load_json(stored.encode())
    except ValueError:
        return stored


def suspend_info(fields: Mapping[str, Any]) -> SuspendInfo | None:
    """How the job of this hash waits; None if it does not."""
    suspended_at = instant(fields.get("suspendedAt"))
    if fields.get("state") != SUSPENDED or suspended_at is None:
        return None
    reason: bytes = fields.get("suspendReason", b"")
    timeout_ms = number(fields.get("suspendTimeout"))
    return SuspendInfo(
        reason.decode("utf-8", "replace") or None,
        suspended_at,
        timeout_ms / 1000 if timeout_ms > 0 else None,
        signals_from(fields.get("signals")),
    )
