"""Schedulers that Node set up fire here as they do there, and ours stand on the server as Node's do.

The functions get the recorded times, so times are compared exactly.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from glidemq.options.cron import next_cron_run
from glidemq.options.schedule import JobTemplate, Schedule, entry_to_wire, schedule_to_wire, template_to_wire
from glidemq.payload import Payload
from tests.interop.allowances import AFTER_ADD, AFTER_COMPLETION
from tests.interop.differ import assert_same, read_keys
from tests.interop.functions_worker import FunctionsWorker
from tests.interop.loader import load_dump
from tests.interop.snapshot import load_case
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

TOKEN = "0123456789abcdef"
UPSERTED_MS = 1795313097347  # when Node added the scheduler that runs every 300 ms
RAC_UPSERTED_MS = 1795313097387


class Ticker:
    """Ticks a queue's schedulers at times that the test sets."""

    def __init__(self, call: Call, queue: str) -> None:
        self._call = call
        self._queue = queue

    def __call__(self, now: int) -> list[tuple[str, str]]:
        _, _, fired, wanted, refused, _ = self._call(
            "fire_schedulers", self._queue, now=now, token=TOKEN, lock_ms=1000, limit=100, following=[]
        )
        assert (wanted, refused) == ([], [])
        return [(name.decode(), job_id.decode()) for name, job_id in fired]


@pytest.mark.parametrize(
    ("name", "schedule", "template", "now"),
    [
        ("ev", Schedule(every=0.3, limit=2), JobTemplate("tick", {"e": 1}, {"attempts": 2}), UPSERTED_MS),
        ("cr", Schedule(pattern="0 3 * * *", tz="Europe/Berlin"), JobTemplate("nightly", {}), UPSERTED_MS),
        ("rac", Schedule(repeat_after_complete=60), JobTemplate("again", {}), RAC_UPSERTED_MS),
    ],
)
def test_our_upsert_writes_the_text_that_node_writes(
    call: Call, queue: RawQueue, name: str, schedule: Schedule, template: JobTemplate, now: int
) -> None:
    entry = entry_to_wire(schedule_to_wire(schedule), template_to_wire(template, Payload()))
    timing: dict[str, Any] = {}
    if schedule.pattern is not None:
        timing = {"first_run": next_cron_run(schedule.pattern, schedule.tz, now), "asked_at": now}
    status, stored = call("upsert_scheduler", queue.name, now=now, name=name, entry=entry, **timing)
    recorded = load_case("schedulers").first["glide:{sch}:schedulers"].fields[name]
    assert (status, stored.decode()) == (b"ok", recorded)
    assert queue.client.hget(queue.key("schedulers"), name) == stored


def test_recorded_schedulers_fire_and_leave_what_node_leaves(call: Call, queue: RawQueue) -> None:
    loaded = load_dump(queue.client, "schedulers", queue.name, moment="after_upsert")
    tick, worker = Ticker(call, queue.name), FunctionsWorker(call, queue.name)
    for fired, started, finished, expected in (
        (1795313097390, 1795313097392, 1795313097392, ("rac", "1")),
        (1795313097691, 1795313097693, 1795313097693, ("ev", "2")),
        (1795313097991, 1795313097993, 1795313097993, ("ev", "3")),
    ):
        assert tick(fired) == [expected]
        [job] = worker.take(started)
        worker.complete(finished, [job], "1")
    worker.leave()
    expected_keys = loaded.expected("after_two_ticks_first_rac")
    assert_same(expected_keys, read_keys(queue.client, [queue.name]), allowed=AFTER_COMPLETION)


def test_what_node_left_goes_on_here(call: Call, queue: RawQueue) -> None:
    load_dump(queue.client, "schedulers", queue.name, moment="after_two_ticks_first_rac")
    tick = Ticker(call, queue.name)
    assert tick(1795313157391) == []
    assert tick(1795313157392) == [("rac", "4")]
    entry = json.loads(queue.client.hget(queue.key("schedulers"), "rac") or b"")
    assert (entry["iterationCount"], entry["nextRun"], entry["lastRun"]) == (2, 0, 1795313157392)


def test_upserting_what_node_stored_changes_nothing(call: Call, queue: RawQueue) -> None:
    loaded = load_dump(queue.client, "schedulers", queue.name, moment="after_two_ticks_first_rac")
    now = 1795313100000
    schedule = Schedule(pattern="0 3 * * *", tz="Europe/Berlin")
    entry = entry_to_wire(schedule_to_wire(schedule), template_to_wire(JobTemplate("nightly", {}), Payload()))
    first = next_cron_run("0 3 * * *", "Europe/Berlin", now)
    call("upsert_scheduler", queue.name, now=now, name="cr", entry=entry, first_run=first, asked_at=now)
    found = read_keys(queue.client, [queue.name])
    assert_same(loaded.expected("after_two_ticks_first_rac"), found, allowed=AFTER_ADD)


def test_cron_slots_are_those_that_node_computed() -> None:
    recorded = json.loads(load_case("schedulers").first["glide:{sch}:schedulers"].fields["cr"])
    assert next_cron_run(recorded["pattern"], recorded["tz"], UPSERTED_MS) == recorded["nextRun"]
    # From the wire format's own example, recorded on another day.
    monday = round(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)
    assert next_cron_run("0 9 * * 1-5", "Europe/Berlin", monday) == 1795420800000
