"""update_progress: the field, the event and its bound."""

from __future__ import annotations

import pytest

from glidemq.commands.update_progress import UpdateProgressCommand
from glidemq.errors import ValidationError
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue


@pytest.mark.parametrize("progress", ["50", '{"done":1,"of":2}'])
def test_progress_is_stored_and_told_to_listeners(call: Call, queue: RawQueue, progress: str) -> None:
    queue.hash("1", state="active")
    reply = call("update_progress", queue.name, id="1", progress=progress, events=True)
    assert UpdateProgressCommand("k", job_id="1", progress=progress.encode()).parse_reply(reply) is True
    assert queue.field("1", "progress") == progress
    assert queue.events() == [{"event": "progress", "jobId": "1", "data": progress}]


def test_events_can_be_left_out(call: Call, queue: RawQueue) -> None:
    queue.hash("1", state="active")
    call("update_progress", queue.name, id="1", progress="1", events=False)
    assert queue.field("1", "progress") == "1"
    assert queue.events() == []


def test_a_job_that_is_gone_does_not_come_back(call: Call, queue: RawQueue) -> None:
    reply = call("update_progress", queue.name, id="1", progress="1", events=True)
    assert UpdateProgressCommand("k", job_id="1", progress=b"1").parse_reply(reply) is False
    assert queue.suffixes() == []


def test_the_event_log_stays_bounded(call: Call, queue: RawQueue) -> None:
    queue.hash("1", state="active")
    for number in range(1500):
        call("update_progress", queue.name, id="1", progress=str(number), events=True)
    # Trimming is approximate: whole nodes of the stream, a hundred entries each.
    assert 1000 <= queue.client.xlen(queue.key("events")) <= 1100
    assert queue.events()[-1]["data"] == "1499"


def test_progress_above_one_mebibyte_is_refused_before_it_is_sent() -> None:
    with pytest.raises(
        ValidationError, match=r"Progress data exceeds maximum size \(1048577 bytes > 1048576\)"
    ):
        UpdateProgressCommand("k", job_id="1", progress=b"1" * 1_048_577)
