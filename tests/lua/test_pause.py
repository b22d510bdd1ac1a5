"""pause: the flag, the event, and that nothing starts any more."""

from __future__ import annotations

from glidemq.commands.pause import PauseCommand
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

WORKER = {"consumer": "w", "cell": "c", "complete": [], "slots": 10, "ahead": 0, "claimed": []}
STEP = {**WORKER, "events": True, "metrics": True, "max_bytes": 1 << 20, "now": 5000}


def test_pause_sets_the_flag_and_emits_the_event_each_time(call: Call, queue: RawQueue) -> None:
    for _ in range(2):
        PauseCommand(queue.key("meta")).parse_reply(call("pause", queue.name))
    assert queue.client.hgetall(queue.key("meta")) == {b"paused": b"1"}
    assert queue.events() == [{"event": "paused", "jobId": "0"}] * 2


def test_step_starts_nothing_of_a_paused_queue_and_goes_on_after_resume(call: Call, queue: RawQueue) -> None:
    queue.create_group()
    queue.add_waiting("1")
    queue.add_listed("lifo", "2")
    queue.add_listed("priority", "3")
    queue.add_scored("scheduled", "4", 4000, state="delayed", delay=1)
    call("pause", queue.name)
    _, _, _, activations, hints = call("step", queue.name, run="a", **STEP)
    assert activations == [] and hints[0] == 1
    assert [queue.field(job_id, "state") for job_id in "1234"] == ["waiting"] * 3 + ["delayed"]

    call("resume", queue.name)
    _, _, _, activations, hints = call("step", queue.name, run="b", **STEP)
    assert sorted(activation[1] for activation in activations) == [b"1", b"2", b"3", b"4"]
    assert hints[0] == 0
