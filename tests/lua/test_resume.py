"""resume: the flag, the event, and that a sleeping worker is woken."""

from __future__ import annotations

from glidemq.commands.resume import ResumeCommand
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue


def test_resume_clears_the_flag_rings_the_bell_and_emits_the_event(call: Call, queue: RawQueue) -> None:
    call("pause", queue.name)
    ResumeCommand(queue.key("meta")).parse_reply(call("resume", queue.name))
    assert queue.client.hgetall(queue.key("meta")) == {b"paused": b"0"}
    assert queue.client.xlen(queue.key("x-py:bell")) == 1
    assert queue.events()[-1] == {"event": "resumed", "jobId": "0"}


def test_other_settings_of_the_queue_stay(call: Call, queue: RawQueue) -> None:
    queue.client.hset(queue.key("meta"), mapping={"globalConcurrency": "3", "paused": "1"})
    call("resume", queue.name)
    assert queue.client.hget(queue.key("meta"), "globalConcurrency") == b"3"
