"""Reading single fields of a job hash, which others may have written too: nonsense reads as absent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

import orjson

from glidemq.clock import wall_datetime


def number(raw: Any) -> int:
    """A whole number; 0 when absent or when it is none."""
    if type(raw) is int:
        return raw
    if not raw:
        return 0
    try:
        return int(raw)
    except (TypeError, ValueError):
        pass
    try:  # Lua writes numbers from 1e14 on with an exponent
        return int(float(raw))
    except (TypeError, ValueError, OverflowError):
        return 0


def instant(raw: Any) -> datetime | None:
    """The aware UTC datetime of epoch milliseconds; None when absent, 0 or out of reach."""
    milliseconds = number(raw)
    if milliseconds <= 0:
        return None
    try:
        return wall_datetime(milliseconds)
    except (ValueError, OverflowError, OSError):
        return None


_EMPTY: Final[Mapping[str, Any]] = {}


def json_object(raw: bytes) -> Mapping[str, Any]:
    """The members of a JSON object; none when it is something else."""
    if raw == b"{}":
        return _EMPTY
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _EMPTY
    return cast("dict[str, Any]", value) if isinstance(value, dict) else _EMPTY
