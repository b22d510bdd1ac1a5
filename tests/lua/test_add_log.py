"""add_log: lines of a job's log, and of no other."""

from __future__ import annotations

import pytest

from glidemq.commands.add_log import AddLogCommand
from glidemq.errors import ValidationError
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue


def test_lines_are_appended_and_counted(call: Call, queue: RawQueue) -> None:
    queue.hash("1", state="active")
    counts = [
        AddLogCommand("k", job_id="1", line=line).parse_reply(call("add_log", queue.name, id="1", line=line))
        for line in ("one", "", "zwei ü")
    ]
    assert counts == [1, 2, 3]
    lines = [line.decode() for line in queue.client.lrange(queue.key("log:1"), 0, -1)]
    assert lines == ["one", "", "zwei ü"]


def test_a_job_that_is_gone_gets_no_log(call: Call, queue: RawQueue) -> None:
    queue.client.hset(queue.key("job:stub"), "lastActive", "1")
    for job_id in ("none", "stub"):
        reply = call("add_log", queue.name, id=job_id, line="x")
        assert AddLogCommand("k", job_id=job_id, line="x").parse_reply(reply) is None
    assert queue.suffixes() == ["job:stub"]


def test_a_line_above_one_mebibyte_is_refused_before_it_is_sent() -> None:
    AddLogCommand("k", job_id="1", line="ü" * 524_288)
    with pytest.raises(
        ValidationError, match=r"Log message exceeds maximum size \(1048578 bytes > 1048576\)"
    ):
        AddLogCommand("k", job_id="1", line="ü" * 524_289)
