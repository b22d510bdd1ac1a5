"""When a scheduler runs, and what job each run is: their checks and their form on the wire."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, cast

import orjson

from glidemq.errors import ValidationError
from glidemq.options.cron import cron_pattern, time_zone
from glidemq.options.durations import Duration, duration_ms
from glidemq.options.job_options import JobOptions, to_wire
from glidemq.options.names import check_job_name
from glidemq.options.nested import MAX_COUNT, nested_option
from glidemq.payload.payload import Payload
from glidemq.serializer import dump_json

Instant: TypeAlias = datetime | int | float
"""An aware `datetime`, or epoch seconds."""

# Beyond it (the year 5138) a number of seconds is one of milliseconds, carried over from a Node program.
MAX_EPOCH_SECONDS = 10**11

# What an entry's template holds beside Node's members: the data in the words of another serializer than JSON.
SERIALIZED_DATA = "x-py:data"

NOT_FOR_TEMPLATES = ("delay", "deduplication", "job_id", "parent", "parents")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a scheduler runs: exactly one of `pattern`, `every` and `repeat_after_complete`, within bounds.

    pattern: five numeric cron fields, minute, hour, day of month, month, day of week (see `CronPattern`).
    every: seconds or timedelta between runs. The first comes after one interval, or at `start_date`; the
        others stay on that grid. Slots missed while nobody was there are skipped.
    repeat_after_complete: seconds or timedelta between the end of a run, however it ended, and the next one.
        The first comes at once.
    tz: IANA name of the time zone of `pattern`; UTC when omitted.
    start_date, end_date: aware datetime or epoch seconds; no run before, and none after.
    limit: the scheduler is removed when it has added so many jobs.
    Source: features page, section 9.
    """

    pattern: str | None = None
    every: Duration | None = None
    repeat_after_complete: Duration | None = None
    tz: str | None = None
    start_date: Instant | None = None
    end_date: Instant | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class JobTemplate:
    """The job that each run of a scheduler is.

    name: the job's name; the scheduler's when omitted.
    data: the job's data, which JSON must be able to express; {} when omitted.
    opts: options of `Queue.add`, except those that make no sense for a row of jobs: delay, job_id,
        deduplication, parent.
    Source: features page, section 9.
    """

    name: str | None = None
    data: Any = None
    opts: JobOptions | Mapping[str, Any] | None = None


def check_scheduler_name(name: object) -> str:
    """Return `name` if it can name a scheduler: a non-empty string of at most 256 characters."""
    if not isinstance(name, str) or not name:
        raise ValidationError(f"Scheduler name must be a non-empty string, not {name!r:.40}")
    return check_job_name(name)


def schedule_to_wire(value: object) -> dict[str, Any]:
    """The checked members of an entry that say when it runs, in the order in which Node writes them.

    Raises:
        ValidationError: with the documented sentence.
    """
    schedule = nested_option(Schedule, value, "schedule")
    modes = (schedule.pattern, schedule.every, schedule.repeat_after_complete)
    given = sum(mode is not None for mode in modes)
    if not given:
        raise ValidationError(
            "Schedule must have pattern (cron), every (interval in seconds), or repeat_after_complete (seconds)"
        )
    if given > 1:
        raise ValidationError(
            "Schedule options pattern, every, and repeat_after_complete are mutually exclusive"
        )
    wire: dict[str, Any] = {}
    if schedule.pattern is not None:
        wire["pattern"] = _pattern(schedule.pattern)
    if schedule.every is not None:
        wire["every"] = _interval(schedule.every, "every")
    if schedule.repeat_after_complete is not None:
        wire["repeatAfterComplete"] = _interval(schedule.repeat_after_complete, "repeat_after_complete")
    if schedule.tz is not None:
        wire["tz"] = _zone_name(schedule.tz)
    if schedule.start_date is not None:
        wire["startDate"] = _instant_ms(schedule.start_date, "start_date")
    if schedule.end_date is not None:
        wire["endDate"] = _instant_ms(schedule.end_date, "end_date")
    if wire.get("startDate", -math.inf) > wire.get("endDate", math.inf):
        raise ValidationError("start_date must be less than or equal to end_date")
    if schedule.limit is not None:
        wire["limit"] = _limit(schedule.limit)
    return wire


def template_to_wire(value: object, payload: Payload) -> dict[str, Any]:
    """The checked template of an entry.

    Raises:
        ValidationError: a bad name or option, or data above 1 MiB.
        SerializationError: data that JSON, or the queue's serializer, cannot express.
    """
    template = JobTemplate() if value is None else nested_option(JobTemplate, value, "template")
    wire: dict[str, Any] = {}
    if template.name is not None:
        wire["name"] = check_job_name(template.name)
    if template.data is not None:
        text = payload.dump_data(template.data)
        # Entries are JSON for everybody, whatever the queue's serializer is.
        plain = dump_json(template.data, "template.data")
        wire["data"] = orjson.Fragment(plain)
        if text != plain:
            wire[SERIALIZED_DATA] = text.decode()
    if template.opts is not None:
        wire["opts"] = orjson.Fragment(to_wire(_template_options(template.opts)).json)
    return wire


def entry_to_wire(schedule: Mapping[str, Any], template: Mapping[str, Any]) -> bytes:
    """The JSON of a new entry, without its runs."""
    return orjson.dumps({**schedule, "iterationCount": 0, "template": template})


def _template_options(opts: object) -> Mapping[str, Any]:
    if not isinstance(opts, Mapping):
        raise ValidationError(f"Scheduler template: opts must be a mapping of job options, not {opts!r:.40}")
    options = cast("Mapping[str, Any]", opts)
    for name in NOT_FOR_TEMPLATES:
        if options.get(name) is not None:
            raise ValidationError(f"Scheduler template: {name} cannot be used, every run is a job of its own")
    if options.get("lifo") and options.get("ordering") is not None:
        raise ValidationError("Scheduler template: lifo and ordering.key cannot be used together")
    return options


def _pattern(value: object) -> str:
    if not isinstance(value, str):
        raise ValidationError(f"pattern must be five cron fields in a string, not {value!r:.40}")
    return cron_pattern(value).text


def _zone_name(value: object) -> str:
    if not isinstance(value, str):
        raise ValidationError(f"Invalid timezone: {value!r:.40}")
    time_zone(value)
    return value


def _interval(value: object, name: str) -> int:
    sentence = f"{name} must be a positive safe integer of milliseconds, given in seconds or as a timedelta"
    return duration_ms(value, name, positive=True, sentence=sentence)


def _instant_ms(value: object, name: str) -> int:
    sentence = f"{name} must be a valid Date or timestamp: an aware datetime or epoch seconds"
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValidationError(f"{sentence}; {value!r} has no time zone")
        return round(value.timestamp() * 1000)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < math.inf:
        raise ValidationError(sentence)
    if abs(value) >= MAX_EPOCH_SECONDS:
        raise ValidationError(f"{sentence}; {value!r:.40} looks like milliseconds")
    return round(value * 1000)


def _limit(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_COUNT:
        raise ValidationError("limit must be a positive integer")
    return value
