"""update_data: the payload is replaced, and nothing else changes."""

from __future__ import annotations

import pytest

from glidemq.commands.update_data import UpdateDataCommand
from glidemq.errors import ValidationError
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue


def test_data_is_replaced(call: Call, queue: RawQueue) -> None:
    queue.hash("1", state="active")
    before = queue.client.hgetall(queue.key("job:1"))
    reply = call("update_data", queue.name, id="1", data='{"step":2}')
    assert UpdateDataCommand("k", job_id="1", data=b"{}").parse_reply(reply) is True
    assert queue.client.hgetall(queue.key("job:1")) == {**before, b"data": b'{"step":2}'}
    assert queue.suffixes() == ["job:1"]


def test_a_job_that_is_gone_does_not_come_back(call: Call, queue: RawQueue) -> None:
    reply = call("update_data", queue.name, id="1", data="{}")
    assert UpdateDataCommand("k", job_id="1", data=b"{}").parse_reply(reply) is False
    assert queue.suffixes() == []


def test_data_above_one_mebibyte_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValidationError, match=r"Job data exceeds maximum size \(1048577 bytes > 1048576\)"):
        UpdateDataCommand("k", job_id="1", data=b"1" * 1_048_577)
