"""get_scheduler: an entry as it is stored."""

from __future__ import annotations

from tests.lua.schedules import Schedules


def test_entry_comes_as_it_is_stored(schedules: Schedules) -> None:
    schedules.write("s", '{ "every": 5 }')
    assert schedules.driven.call("get_scheduler", name="s") == [b"ok", b'{ "every": 5 }']


def test_missing_one_is_missing(schedules: Schedules) -> None:
    assert schedules.driven.call("get_scheduler", name="s") == [b"missing"]
    schedules.write("other", "{}")
    assert schedules.driven.call("get_scheduler", name="s") == [b"missing"]
