"""gmq_clear_dead_letters: what leaves the outbox, and until when."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.dead_letters import DLQ, PATIENCE_MS, configure, fail_one, outbox, take
from tests.lua.driven_queue import DrivenQueue


def clear(driven: DrivenQueue, *entries: bytes, read_at: int | None = None, token: str = "c1") -> list[Any]:
    return driven.call(
        "clear_dead_letters", token=token, entries=list(entries), read_at=read_at or driven.now
    )


def test_letters_stay_until_they_are_cleared(driven: DrivenQueue) -> None:
    configure(driven)
    assert take(driven) == [b"ok", driven.now, DLQ.encode(), [], 0]
    for _ in range(3):
        fail_one(driven)
    status, now, name, letters, lost = take(driven)
    assert (status, now, name, lost) == (b"ok", driven.now, DLQ.encode(), 0)
    assert [letter[2] for letter in letters] == [b"1", b"2", b"3"]
    assert take(driven)[3] == letters
    assert clear(driven, letters[0][0], letters[1][0]) == [b"ok", 1]
    assert clear(driven, letters[2][0]) == [b"ok", 0]
    assert not [suffix for suffix in driven.suffixes() if "dead-letters" in suffix]


def test_clearing_too_late_changes_nothing(driven: DrivenQueue) -> None:
    configure(driven)
    fail_one(driven)
    letters = take(driven)[3]
    read_at = driven.now
    driven.pass_time(PATIENCE_MS + 1)
    assert clear(driven, letters[0][0], read_at=read_at) == [b"too_late"]
    assert len(outbox(driven)) == 1


@pytest.mark.parametrize("entries", [["x"], [5], ["1-1"] * 1001])
def test_bad_entries_are_refused(driven: DrivenQueue, entries: list[Any]) -> None:
    reply = driven.call("clear_dead_letters", token="c", read_at=driven.now, entries=entries)
    assert reply[0] == b"bad_argument"
