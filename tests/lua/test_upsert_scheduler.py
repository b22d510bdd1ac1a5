"""upsert_scheduler: creates or changes an entry, and keeps what an unchanged schedule had reached."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.schedules import Schedules, dump

SECOND = 1000
DAY = 86_400_000


def test_entry_is_stored_as_node_writes_it(schedules: Schedules) -> None:
    template = {"name": "tick", "data": {"e": 1}, "opts": {"attempts": 2}}
    _, raw = schedules.try_upsert("ev", every=300, limit=2, template=template)
    text = (
        '{"every":300,"limit":2,"iterationCount":0,"template":{"name":"tick","data":{"e":1},'
        f'"opts":{{"attempts":2}}}},"nextRun":{schedules.now + 300}}}'
    )
    assert schedules.text("ev") == raw.decode() == text
    assert schedules.looks() == {"ev": schedules.now + 300}


@pytest.mark.parametrize(
    ("members", "first"),
    [
        ({"every": 300}, 300),
        ({"every": 300, "startDate": 5000}, 5000),
        ({"every": 300, "startDate": 0}, 0),
        ({"every": 300, "startDate": -1}, 299),
        ({"every": 300, "startDate": -301}, 299),
        ({"every": 300, "startDate": -600}, 0),
        ({"repeatAfterComplete": 300}, 0),
        ({"repeatAfterComplete": 300, "startDate": 5000}, 5000),
        ({"repeatAfterComplete": 300, "startDate": -5000}, 0),
    ],
)
def test_first_run(schedules: Schedules, members: dict[str, int], first: int) -> None:
    if "startDate" in members:
        members = {**members, "startDate": schedules.now + members["startDate"]}
    assert schedules.upsert("s", **members)["nextRun"] == schedules.now + first


@pytest.mark.parametrize("mode", [{"every": 300}, {"pattern": "0 0 1 1 *"}, {"repeatAfterComplete": 300}])
def test_nothing_within_the_bounds_is_refused(schedules: Schedules, mode: dict[str, Any]) -> None:
    status, _ = schedules.try_upsert("s", endDate=schedules.now - 1, **mode)
    assert status == "no_occurrences"
    assert schedules.driven.suffixes() == []


def test_first_run_at_the_end_itself_is_within_the_bounds(schedules: Schedules) -> None:
    assert schedules.upsert("s", every=300, endDate=schedules.now + 300)["nextRun"] == schedules.now + 300


def test_clock_of_the_caller_that_differs_is_told_the_time(schedules: Schedules) -> None:
    entry = dump({"pattern": "* * * * *", "iterationCount": 0, "template": {}})
    first = schedules.now + 60_000

    def ask(asked_at: int | bool) -> list[Any]:
        return schedules.driven.call(
            "upsert_scheduler", name="s", entry=entry, first_run=first, asked_at=asked_at
        )

    for differing in (schedules.now - 1001, schedules.now + 1001, False):
        assert ask(differing) == [b"clock", schedules.now]
    assert schedules.driven.suffixes() == []
    for close in (schedules.now - 1000, schedules.now + 1000):
        assert ask(close)[0] == b"ok"


@pytest.mark.parametrize(
    "members",
    [
        {"every": 1000},
        {"every": 1000, "startDate": 1_800_000_000_500, "endDate": 1_900_000_000_000},
        {"pattern": "*/5 * * * *", "tz": "Europe/Berlin"},
    ],
)
def test_unchanged_schedule_keeps_its_runs_and_replaces_the_rest(
    schedules: Schedules, members: dict[str, Any]
) -> None:
    schedules.driven.now = schedules.upsert("s", limit=9, template={"name": "old"}, **members)["nextRun"]
    schedules.tick()
    before = schedules.entry("s")
    schedules.driven.pass_time(SECOND // 2)
    after = schedules.upsert("s", limit=5, template={"name": "new", "data": [1]}, **members)
    assert after == {**before, "limit": 5, "template": {"name": "new", "data": [1]}}
    assert list(after)[-2:] == ["lastRun", "nextRun"]
    assert after["iterationCount"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"every": 999},
        {"startDate": 1_800_000_000_000},
        {"endDate": 1_800_000_000_000 + DAY},
        {"tz": "UTC"},
    ],
)
def test_changed_schedule_starts_anew(schedules: Schedules, change: dict[str, Any]) -> None:
    start = schedules.now
    schedules.upsert("s", every=1000)
    schedules.tick_at(start + 1000)
    schedules.driven.pass_time(100)
    entry = schedules.upsert("s", **{"every": 1000, **change})
    assert entry["iterationCount"] == 0
    assert "lastRun" not in entry
    assert entry["nextRun"] in (start + 1100 + change.get("every", 1000), start + 2000)


def test_schedule_written_by_node_counts_as_unchanged(schedules: Schedules) -> None:
    soon = schedules.now + 77
    schedules.write(
        "s",
        f'{{"pattern":"0 3 * * *","tz":"Europe\\/Berlin","iterationCount":4,"lastRun":5,"nextRun":{soon}}}',
    )
    entry = schedules.upsert("s", pattern="0 3 * * *", tz="Europe/Berlin")
    assert (entry["iterationCount"], entry["lastRun"], entry["nextRun"]) == (4, 5, soon)


def test_unreadable_entry_is_replaced(schedules: Schedules) -> None:
    schedules.write("s", "nonsense")
    assert schedules.upsert("s", every=100)["iterationCount"] == 0


def test_upsert_while_a_run_is_outstanding_keeps_it_outstanding(schedules: Schedules) -> None:
    schedules.upsert("r", repeatAfterComplete=1000)
    assert schedules.tick() == [("r", "1")]
    last_run = schedules.now
    schedules.driven.pass_time(50)
    same = schedules.upsert("r", repeatAfterComplete=1000)
    assert (same["nextRun"], same["iterationCount"], same["lastRun"]) == (0, 1, last_run)
    changed = schedules.upsert("r", repeatAfterComplete=20)
    assert (changed["nextRun"], changed["iterationCount"], changed["lastRun"]) == (0, 0, last_run)
    schedules.driven.pass_time(60_000)
    assert schedules.tick() == []
    # The new interval counts from the end of the run.
    schedules.driven.complete(schedules.driven.start_one())
    assert schedules.next_run("r") == schedules.now + 20


def test_another_mode_does_not_wait_for_the_outstanding_run(schedules: Schedules) -> None:
    schedules.upsert("r", repeatAfterComplete=1000)
    schedules.tick()
    assert schedules.upsert("r", every=300)["nextRun"] == schedules.now + 300
    before = schedules.text("r")
    schedules.driven.complete(schedules.driven.start_one())
    assert schedules.text("r") == before
    assert schedules.driven.client.exists(schedules.driven.key("x-py:scheduler-runs")) == 0


def test_held_lock_makes_it_wait(schedules: Schedules) -> None:
    schedules.take_lock()
    assert schedules.try_upsert("s", every=1)[0] == "busy"
    assert schedules.text("s") is None


@pytest.mark.parametrize("entry", ["", "[]", "{}", '{"every":0}', '{"pattern":""}', '{"every":"1"}'])
def test_what_is_no_entry_is_refused(schedules: Schedules, entry: str) -> None:
    assert schedules.driven.call("upsert_scheduler", name="s", entry=entry)[0] == b"bad_argument"
