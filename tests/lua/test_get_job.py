"""get_job: what a reader sees of one job."""

from __future__ import annotations

import pytest

from glidemq.commands.get_job import GetJobCommand
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue


def test_job_is_returned_with_every_field(call: Call, queue: RawQueue) -> None:
    queue.hash("7", state="completed", returnvalue="5", **{"x-py:run": "t"})
    status, flat = call("get_job", queue.name, id="7")
    found = dict(zip(flat[::2], flat[1::2], strict=True))
    assert status == b"ok"
    assert found == {
        b"id": b"7",
        b"name": b"n",
        b"data": b'{"of":"7"}',
        b"opts": b"{}",
        b"timestamp": b"1000",
        b"attemptsMade": b"0",
        b"delay": b"0",
        b"priority": b"0",
        b"maxAttempts": b"0",
        b"state": b"completed",
        b"returnvalue": b"5",
        b"x-py:run": b"t",
    }


def test_payload_is_left_out_on_request(call: Call, queue: RawQueue) -> None:
    queue.hash("7", state="failed", failedReason="boom", returnvalue="5", embedding=b"\xff\x00", lifo="1")
    queue.hash("7", **{"usage:model": "m", "usage:totalTokens": "3"})
    status, flat = call("get_job", queue.name, id="7", exclude_data=True)
    found = dict(zip(flat[::2], flat[1::2], strict=True))
    assert status == b"ok"
    assert found[b"failedReason"] == b"boom" and found[b"lifo"] == b"1"
    assert found[b"usage:model"] == b"m" and found[b"usage:totalTokens"] == b"3"
    assert not found.keys() & {b"data", b"returnvalue", b"embedding"}


def test_bytes_that_are_no_text_come_through(call: Call, queue: RawQueue) -> None:
    queue.hash("7", embedding=b"\xff\x00\xfe")
    reply = GetJobCommand(queue.key("meta"), job_id="7").parse_reply(call("get_job", queue.name, id="7"))
    assert reply is not None and reply["embedding"] == b"\xff\x00\xfe"


@pytest.mark.parametrize("exclude_data", [False, True])
def test_no_hash_a_stub_and_a_foreign_key_are_no_jobs(
    call: Call, queue: RawQueue, exclude_data: bool
) -> None:
    queue.client.hset(queue.key("job:stub"), "lastActive", "1")
    queue.client.set(queue.key("job:text"), "x")
    for job_id in ("none", "stub", "text"):
        reply = call("get_job", queue.name, id=job_id, exclude_data=exclude_data)
        assert reply == [b"missing"]
        assert GetJobCommand("k", job_id=job_id).parse_reply(reply) is None
