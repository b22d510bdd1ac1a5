"""list_schedulers: every entry, page by page."""

from __future__ import annotations

from tests.lua.schedules import Schedules


def pages(schedules: Schedules) -> list[list[bytes]]:
    found: list[list[bytes]] = []
    cursor = ""
    while True:
        status, flat, following = schedules.driven.call("list_schedulers", cursor=cursor)
        assert status == b"ok"
        found.append(flat)
        cursor = following.decode()
        if not cursor:
            return found


def test_queue_without_schedulers_has_one_empty_page(schedules: Schedules) -> None:
    assert pages(schedules) == [[]]


def test_all_entries_come_in_bounded_pages(schedules: Schedules) -> None:
    # Values this long keep the hash from being one listpack, which a scan returns whole.
    written = {
        f"s{number}": f'{{"every":{number + 1},"template":{{"data":"{"x" * 1100}"}}}}'
        for number in range(300)
    }
    for name, text in written.items():
        schedules.write(name, text)
    found = pages(schedules)
    assert len(found) > 3
    assert max(len(flat) for flat in found) <= 2 * 100
    listed = {
        flat[index].decode(): flat[index + 1].decode() for flat in found for index in range(0, len(flat), 2)
    }
    assert listed == written
