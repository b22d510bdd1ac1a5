"""A job hash as the read commands return it: field name to raw value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JobFields = Mapping[str, bytes]


def job_fields(flat: list[Any]) -> JobFields:
    """Pair up a flat list of fields and values. Names written by foreign hands need not be UTF-8."""
    names = (name.decode("utf-8", "backslashreplace") for name in flat[::2])
    return dict(zip(names, flat[1::2], strict=True))
