"""is_paused: the flag in every form in which it may stand."""

from __future__ import annotations

import pytest

from glidemq.commands.is_paused import IsPausedCommand
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue


@pytest.mark.parametrize(("stored", "expected"), [(None, False), ("0", False), ("1", True)])
def test_flag_is_read(call: Call, queue: RawQueue, stored: str | None, expected: bool) -> None:
    if stored is not None:
        queue.client.hset(queue.key("meta"), "paused", stored)
    assert IsPausedCommand(queue.key("meta")).parse_reply(call("is_paused", queue.name)) is expected


def test_asking_writes_nothing(call: Call, queue: RawQueue) -> None:
    call("is_paused", queue.name)
    assert queue.suffixes() == []
