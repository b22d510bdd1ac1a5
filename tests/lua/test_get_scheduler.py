"""get_scheduler: an entry as it is stored."""

from __future__ import annotations

from glidemq.commands.command import pack, unpack
from tests.lua.schedules import Schedules


def test_entry_comes_as_it_is_stored(schedules: Schedules) -> None:
    schedules.write("s", '{ "every": 5 }')
    assert schedules.driven.call("get_scheduler", name="s") == [b"ok", b'{ "every": 5 }']


def test_missing_one_is_missing(schedules: Schedules) -> None:
    assert schedules.driven.call("get_scheduler", name="s") == [b"missing"]
    schedules.write("other", "{}")
    assert schedules.driven.call("get_scheduler", name="s") == [b"missing"]


def test_schedulers_can_be_read_where_nothing_may_be_written(schedules: Schedules) -> None:
    schedules.write("s", '{"every":5}')
    client, meta = schedules.driven.client, schedules.driven.key("meta")
    assert unpack(client.fcall_ro("gmq_get_scheduler", 1, meta, pack({"v": 1, "name": "s"})))[0] == b"ok"
    assert unpack(client.fcall_ro("gmq_list_schedulers", 1, meta, pack({"v": 1, "cursor": ""})))[0] == b"ok"
