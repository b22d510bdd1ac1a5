"""Schedules and templates: what leaves for the wire, what comes back, and what is refused with which sentence."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from glidemq.errors import SerializationError, ValidationError
from glidemq.options.schedule import (
    JobTemplate,
    Schedule,
    check_scheduler_name,
    entry_to_wire,
    schedule_to_wire,
    template_to_wire,
)
from glidemq.options.scheduler_entry import SchedulerEntry, entry_from_wire
from glidemq.payload import Payload

CAMPAIGN = datetime(2026, 11, 28, tzinfo=UTC)
CAMPAIGN_MS = 1_795_824_000_000


class Base64Serializer:
    """JSON in disguise: what a serializer of the user's own makes of a value."""

    def serialize(self, value: Any, /) -> str:
        return base64.b64encode(json.dumps(value).encode()).decode()

    def deserialize(self, text: str, /) -> Any:
        return json.loads(base64.b64decode(text))


def text_of(template: Any, payload: Payload | None = None) -> str:
    """The template member of an entry."""
    entry = entry_to_wire({}, template_to_wire(template, payload or Payload())).decode()
    return entry.removeprefix('{"iterationCount":0,"template":').removesuffix("}")


def stored(text: str, payload: Payload | None = None) -> SchedulerEntry:
    entry = entry_from_wire(text.encode(), payload or Payload())
    assert entry is not None
    return entry


# -- schedules -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "wire"),
    [
        (Schedule(pattern="0 8 * * *"), {"pattern": "0 8 * * *"}),
        (
            Schedule(pattern=" 0  8 * * *", tz="Europe/Berlin"),
            {"pattern": "0 8 * * *", "tz": "Europe/Berlin"},
        ),
        (Schedule(every=0.3), {"every": 300}),
        (Schedule(every=300), {"every": 300_000}),
        (Schedule(every=timedelta(days=2)), {"every": 172_800_000}),
        (Schedule(every=0.0001), {"every": 1}),
        (Schedule(repeat_after_complete=5), {"repeatAfterComplete": 5000}),
        ({"every": 1, "limit": 36}, {"every": 1000, "limit": 36}),
        (Schedule(every=1, start_date=CAMPAIGN), {"every": 1000, "startDate": CAMPAIGN_MS}),
        (Schedule(every=1, end_date=CAMPAIGN_MS / 1000), {"every": 1000, "endDate": CAMPAIGN_MS}),
        (
            Schedule(every=1, start_date=1.5, end_date=1.5),
            {"every": 1000, "startDate": 1500, "endDate": 1500},
        ),
        (
            Schedule(every=1, start_date=CAMPAIGN.astimezone(timezone(timedelta(hours=5)))),
            {"every": 1000, "startDate": CAMPAIGN_MS},
        ),
        (
            Schedule("* * * * *", None, None, "UTC", 0, CAMPAIGN, 3),
            {"pattern": "* * * * *", "tz": "UTC", "startDate": 0, "endDate": CAMPAIGN_MS, "limit": 3},
        ),
    ],
)
def test_schedule_on_the_wire(schedule: Any, wire: dict[str, Any]) -> None:
    assert schedule_to_wire(schedule) == wire
    assert list(schedule_to_wire(schedule)) == list(wire)
    if isinstance(schedule, Schedule):
        assert schedule_to_wire(asdict(schedule)) == wire


NO_MODE = "Schedule must have pattern (cron), every (interval in seconds), or repeat_after_complete (seconds)"
TWO_MODES = "Schedule options pattern, every, and repeat_after_complete are mutually exclusive"


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        ({}, NO_MODE),
        ({"limit": 1}, NO_MODE),
        ({"pattern": "* * * * *", "every": 1}, TWO_MODES),
        ({"every": 1, "repeat_after_complete": 1}, TWO_MODES),
        ({"pattern": "* * *"}, "Invalid cron pattern: expected 5 fields, got 3"),
        ({"pattern": 5}, "pattern must be five cron fields in a string, not 5"),
        ({"pattern": "* * * * *", "tz": "Mars/Olympus"}, "Invalid timezone: Mars/Olympus"),
        ({"pattern": "* * * * *", "tz": 5}, "Invalid timezone: 5"),
        ({"every": 1, "start_date": 2, "end_date": 1}, "start_date must be less than or equal to end_date"),
        ({"every": 1, "unknown": 1}, "Unknown field of schedule 'unknown'"),
        (
            {"repeatAfterComplete": 1},
            "Unknown field of schedule 'repeatAfterComplete': did you mean 'repeat_after_c",
        ),
        ("* * * * *", "schedule must be a Schedule or a mapping with its fields, not '* * * * *'"),
        (None, "schedule must be a Schedule or a mapping with its fields, not None"),
        *(
            ({"every": bad}, "every must be a positive safe integer")
            for bad in (0, -1, "5", True, float("inf"))
        ),
        ({"every": 1e300}, "every must be less than 69 years"),
        *(
            ({"repeat_after_complete": bad}, "repeat_after_complete must be a positive safe integer")
            for bad in (0, [])
        ),
        *(
            ({"every": 1, "limit": bad}, "limit must be a positive integer")
            for bad in (0, -1, 1.5, True, "3", 2**31)
        ),
        *(
            ({"every": 1, name: bad}, f"{name} must be a valid Date or timestamp")
            for name in ("start_date", "end_date")
            for bad in ("2026", True, float("nan"), float("inf"), datetime(2026, 1, 1), CAMPAIGN_MS, 10**400)
        ),
    ],
)
def test_bad_schedule_is_refused_with_its_sentence(schedule: Any, sentence: str) -> None:
    with pytest.raises(ValidationError, match="^" + re.escape(sentence)):
        schedule_to_wire(schedule)


def test_milliseconds_and_naive_datetimes_are_named_as_such() -> None:
    with pytest.raises(ValidationError, match="looks like milliseconds"):
        schedule_to_wire({"every": 1, "start_date": CAMPAIGN_MS})
    with pytest.raises(ValidationError, match="has no time zone"):
        schedule_to_wire({"every": 1, "end_date": datetime(2026, 1, 1)})


@pytest.mark.parametrize("name", ["", None, 5, "x" * 257, "\ud800"])
def test_bad_scheduler_name_is_refused(name: Any) -> None:
    with pytest.raises(ValidationError):
        check_scheduler_name(name)
    assert check_scheduler_name("sensor:{poll} ä") == "sensor:{poll} ä"


# -- templates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (None, "{}"),
        (JobTemplate(), "{}"),
        (JobTemplate("nightly", {}), '{"name":"nightly","data":{}}'),
        ({"name": "n", "data": [1, "ä"]}, '{"name":"n","data":[1,"ä"]}'),
        (JobTemplate(data={"e": 1}, opts={"attempts": 2}), '{"data":{"e":1},"opts":{"attempts":2}}'),
        (
            JobTemplate(opts={"ttl": 5, "lifo": True, "priority": 0}),
            '{"opts":{"ttl":5000,"lifo":true,"priority":0}}',
        ),
        (JobTemplate(opts={"delay": None, "job_id": None}), '{"opts":{}}'),
        (JobTemplate(opts={}), '{"opts":{}}'),
        (JobTemplate(data=0), '{"data":0}'),
    ],
)
def test_template_on_the_wire(template: Any, text: str) -> None:
    assert text_of(template) == text


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        *(
            ({"opts": {name: "x"}}, f"Scheduler template: {name} cannot be used")
            for name in ("delay", "job_id", "deduplication", "parent")
        ),
        (
            {"opts": {"lifo": True, "ordering": {"key": "k"}}},
            "Scheduler template: lifo and ordering.key cannot be used together",
        ),
        ({"opts": {"attempt": 1}}, "Unknown job option 'attempt': did you mean 'attempts'"),
        ({"opts": {"priority": 2049}}, "Priority must be <= 2048"),
        ({"opts": []}, "Scheduler template: opts must be a mapping of job options"),
        ({"name": ""}, "Job name must be a non-empty string"),
        ({"nam": "x"}, "Unknown field of template 'nam': did you mean 'name'"),
        ({"data": "x" * 1_048_575}, "Job data exceeds maximum size (1048577 bytes > 1048576 bytes)."),
        ("n", "template must be a JobTemplate or a mapping with its fields"),
    ],
)
def test_bad_template_is_refused_with_its_sentence(template: Any, sentence: str) -> None:
    with pytest.raises(ValidationError, match="^" + re.escape(sentence)):
        text_of(template)


def test_data_that_json_cannot_express_is_refused() -> None:
    with pytest.raises(SerializationError, match=r"^data\.a cannot be serialized"):
        text_of({"data": {"a": float("nan")}})


def test_data_of_another_serializer_stands_beside_its_json() -> None:
    payload = Payload(Base64Serializer())
    text = text_of(JobTemplate(data={"a": [1]}), payload)
    assert json.loads(text) == {"data": {"a": [1]}, "x-py:data": Base64Serializer().serialize({"a": [1]})}
    assert stored(f'{{"template":{text}}}', payload).template.data == {"a": [1]}
    # One who reads it with another serializer still sees the JSON.
    assert stored(f'{{"template":{text}}}').template.data == {"a": [1]}


# -- stored entries ------------------------------------------------------------------------------------------


def test_entry_comes_back_with_python_s_names_and_units() -> None:
    entry = stored(
        '{"every":1500,"startDate":1500,"endDate":1795824000000,"limit":3,"iterationCount":2,"template":'
        '{"name":"n","data":{"a":1},"opts":{"ttl":5000,"removeOnComplete":true}},"lastRun":1000,"nextRun":2500}'
    )
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert (entry.every, entry.limit, entry.iteration_count) == (1.5, 3, 2)
    assert (entry.start_date, entry.end_date) == (epoch + timedelta(seconds=1.5), CAMPAIGN)
    assert (entry.last_run, entry.next_run) == (epoch + timedelta(seconds=1), epoch + timedelta(seconds=2.5))
    assert entry.template == JobTemplate("n", {"a": 1}, {"ttl": 5.0, "remove_on_complete": True})
    assert schedule_to_wire(entry.schedule) == {
        "every": 1500, "startDate": 1500, "endDate": 1_795_824_000_000, "limit": 3,
    }  # fmt: skip


def test_outstanding_run_has_no_next_run() -> None:
    entry = stored('{"repeatAfterComplete":60000,"iterationCount":1,"template":{},"lastRun":5,"nextRun":0}')
    assert (entry.repeat_after_complete, entry.next_run) == (60.0, None)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "5", "null", '{"every":1'])
def test_what_is_no_entry_reads_as_none(text: str) -> None:
    assert entry_from_wire(text.encode(), Payload()) is None


def test_members_that_make_no_sense_read_as_absent() -> None:
    entry = stored(
        '{"pattern":5,"every":"x","tz":[],"startDate":1e300,"limit":true,"iterationCount":null,'
        '"template":{"name":1,"opts":[]},"lastRun":"x","nextRun":1e20}'
    )
    assert entry == SchedulerEntry(
        None, None, None, None, None, None, None, 0, JobTemplate(None, None, None), None, None
    )
