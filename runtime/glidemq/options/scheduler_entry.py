"""A scheduler as it stands on the server."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, cast

from glidemq.clock import wall_datetime
from glidemq.options.job_options import from_wire
from glidemq.options.schedule import SERIALIZED_DATA, JobTemplate, Schedule
from glidemq.payload.payload import Payload
from glidemq.serializer import load_json


@dataclass(frozen=True, slots=True)
class SchedulerEntry:
    """A stored scheduler: its schedule (intervals in seconds), its template, and its runs.

    iteration_count: jobs added since the schedule was last changed.
    last_run: when the last one was added; None before the first.
    next_run: when the next one is due, aware, in UTC; None while a `repeat_after_complete` run has not ended.
    """

    pattern: str | None
    every: float | None
    repeat_after_complete: float | None
    tz: str | None
    start_date: datetime | None
    end_date: datetime | None
    limit: int | None
    iteration_count: int
    template: JobTemplate
    last_run: datetime | None
    next_run: datetime | None

    @property
    def schedule(self) -> Schedule:
        """The schedule alone, as it may be given to `upsert_job_scheduler` again."""
        return Schedule(
            self.pattern,
            self.every,
            self.repeat_after_complete,
            self.tz,
            self.start_date,
            self.end_date,
            self.limit,
        )


class RepeatableJob(NamedTuple):
    """A scheduler's name and its entry."""

    name: str
    entry: SchedulerEntry


def entry_from_wire(raw: bytes, payload: Payload) -> SchedulerEntry | None:
    """The entry of a stored JSON text; None when it is no JSON object.

    Tolerant, since others write entries too: members that make no sense read as absent.
    """
    try:
        value = load_json(raw)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    stored = cast("dict[str, Any]", value)
    template = stored.get("template")
    return SchedulerEntry(
        pattern=_text(stored.get("pattern")),
        every=_seconds(stored.get("every")),
        repeat_after_complete=_seconds(stored.get("repeatAfterComplete")),
        tz=_text(stored.get("tz")),
        start_date=_datetime(stored.get("startDate")),
        end_date=_datetime(stored.get("endDate")),
        limit=_whole(stored.get("limit")),
        iteration_count=_whole(stored.get("iterationCount")) or 0,
        template=_template(cast("dict[str, Any]", template) if isinstance(template, dict) else {}, payload),
        last_run=_datetime(stored.get("lastRun")),
        next_run=_datetime(stored.get("nextRun") or None),
    )


def _template(stored: Mapping[str, Any], payload: Payload) -> JobTemplate:
    data = stored.get("data")
    serialized = stored.get(SERIALIZED_DATA)
    if isinstance(serialized, str):
        # Written with another serializer than this queue's, it is still there as JSON.
        with contextlib.suppress(Exception):
            data = payload.load(serialized.encode())
    opts = stored.get("opts")
    return JobTemplate(
        _text(stored.get("name")),
        data,
        from_wire(cast("dict[str, Any]", opts)) if isinstance(opts, dict) else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < math.inf:
        return None
    return value


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _seconds(value: object) -> float | None:
    number = _number(value)
    return None if number is None else number / 1000


def _datetime(value: object) -> datetime | None:
    number = _number(value)
    if number is None:
        return None
    try:
        return wall_datetime(int(number))
    except (ValueError, OverflowError, OSError):
        return None
