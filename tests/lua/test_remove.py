"""remove: a job leaves every structure it stands in, whatever its state, and nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.command import unpack
from glidemq.commands.remove import RemoveCommand
from glidemq.errors import ServerError
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

STEP = {"consumer": "w", "cell": "c", "slots": 10, "ahead": 0, "claimed": [], "max_bytes": 1 << 20}


def remove(call: Call, queue: RawQueue, job_id: str = "1") -> tuple[bool, int]:
    """Whether the job existed, and the number of calls."""
    existed = False
    calls = 0
    command: RemoveCommand | None = RemoveCommand(queue.key("meta"), job_id=job_id)
    while command is not None:
        arguments = {name.decode(): value for name, value in unpack(command.arguments()).items()}
        removal = command.parse_reply(call("remove", queue.name, **arguments))
        existed = existed or removal.existed
        calls, command = calls + 1, removal.following
    return existed, calls


def step(call: Call, queue: RawQueue, **arguments: Any) -> list[Any]:
    return call("step", queue.name, **{"run": "r", "complete": [], **STEP, **arguments})


def test_everything_that_belongs_to_the_job_goes_and_the_event_tells(call: Call, queue: RawQueue) -> None:
    queue.add_scored("completed", "1", 5, state="completed")
    queue.add_scored("completed", "2", 6, state="completed")
    queue.client.rpush(queue.key("log:1"), "line")
    queue.client.xadd(queue.key("jstream:1"), {"t": "x"})
    queue.client.rpush(queue.key("signals:1"), "{}")
    queue.client.sadd(queue.key("deps:1"), "x")
    queue.client.sadd(queue.key("parents:1"), "x")
    assert remove(call, queue) == (True, 1)
    assert queue.suffixes() == ["completed", "events", "job:2"]
    assert queue.client.zrange(queue.key("completed"), 0, -1) == [b"2"]
    assert queue.events() == [{"event": "removed", "jobId": "1"}]


def test_a_job_that_does_not_exist_is_missing_and_nothing_is_written(call: Call, queue: RawQueue) -> None:
    assert remove(call, queue) == (False, 1)
    assert queue.suffixes() == []


@pytest.mark.parametrize("zset", ["scheduled", "completed", "failed", "suspended"])
def test_job_leaves_its_set(call: Call, queue: RawQueue, zset: str) -> None:
    queue.add_scored(zset, "1", 5, state="delayed" if zset == "scheduled" else zset)
    assert remove(call, queue) == (True, 1)
    assert queue.suffixes() == ["events"]


def test_waiting_job_leaves_the_stream(call: Call, queue: RawQueue) -> None:
    queue.create_group()
    queue.add_waiting("1", "2")
    assert remove(call, queue) == (True, 1)
    assert queue.entries() == ["2"]


@pytest.mark.parametrize("which", ["lifo", "priority"])
def test_waiting_job_leaves_its_list(call: Call, queue: RawQueue, which: str) -> None:
    queue.add_listed(which, "0", "1", "2")
    assert remove(call, queue) == (True, 1)
    assert queue.client.lrange(queue.key(which), 0, -1) == [b"0", b"2"]


@pytest.mark.parametrize(("fields"), [{"lifo": "1"}, {"priority": 5}])
def test_list_job_that_was_moved_to_the_stream_leaves_it(
    call: Call, queue: RawQueue, fields: dict[str, Any]
) -> None:
    queue.add_waiting("1", **fields)
    remove(call, queue)
    assert queue.entries() == []


def test_job_given_back_is_neither_pending_nor_in_the_stream(call: Call, queue: RawQueue) -> None:
    queue.create_group()
    entries = queue.add_waiting("1", "2")
    queue.deliver("w", 2)
    queue.give_back(entries[0], "1")
    assert remove(call, queue) == (True, 1)
    assert queue.pending() == {entries[1]: "w"}
    assert queue.entries() == ["2"]


def test_parked_job_leaves_its_group_s_queue(call: Call, queue: RawQueue) -> None:
    queue.add_scored("groupq:k", "1", 2, state="group-waiting", groupKey="k", orderingSeq=2)
    queue.add_scored("groupq:k", "2", 3, state="group-waiting", groupKey="k", orderingSeq=3)
    remove(call, queue)
    assert queue.client.zrange(queue.key("groupq:k"), 0, -1) == [b"2"]


def test_running_stream_job_loses_its_entry_and_its_worker_learns_that_it_is_gone(
    call: Call, queue: RawQueue
) -> None:
    queue.create_group()
    queue.add_waiting("1", "2")
    _, _, _, activations, _ = step(call, queue, now=5000)
    (_, job_id, token, entry_id, *_, processed_on, _flags) = activations[0]
    assert remove(call, queue) == (True, 1)
    assert list(queue.pending()) == [activations[1][3].decode()]
    assert queue.entries() == ["2"]

    row = [job_id, token, processed_on, entry_id, "null", False]
    _, _, outcomes, _, _ = step(call, queue, run="s", complete=[row], now=6000)
    assert outcomes == [3]
    assert queue.field("1", "state") is None
    assert queue.client.exists(queue.key("completed")) == 0


@pytest.mark.parametrize("which", ["lifo", "priority"])
def test_running_list_job_is_no_longer_counted(call: Call, queue: RawQueue, which: str) -> None:
    queue.create_group()
    queue.add_listed(which, "1", "2")
    step(call, queue, now=5000)
    assert queue.client.get(queue.key("list-active")) == b"2"
    assert remove(call, queue) == (True, 1)
    assert queue.client.get(queue.key("list-active")) == b"1"
    assert queue.client.zrange(queue.key("x-py:active:c"), 0, -1) == [b"2"]


def test_list_job_that_node_runs_is_no_longer_counted(call: Call, queue: RawQueue) -> None:
    queue.create_group()
    queue.add_waiting("other")
    queue.deliver("worker-1", 1)
    queue.hash("1", state="active", lifo="1")
    queue.client.set(queue.key("list-active"), "1")
    remove(call, queue)
    assert queue.client.get(queue.key("list-active")) == b"0"


def test_prioritized_job_that_runs_from_the_stream_leaves_the_count_alone(
    call: Call, queue: RawQueue
) -> None:
    queue.create_group()
    queue.add_waiting("1", priority=5)
    queue.deliver("worker-1", 1)
    queue.client.set(queue.key("list-active"), "1")
    remove(call, queue)
    assert queue.client.get(queue.key("list-active")) == b"1"
    assert queue.pending() == {}


def test_count_of_list_jobs_never_becomes_negative(call: Call, queue: RawQueue) -> None:
    queue.hash("1", state="active", lifo="1")
    remove(call, queue)
    assert queue.client.exists(queue.key("list-active")) == 0


def fill_stream(queue: RawQueue, number: int, entry_ms: int) -> None:
    pipeline = queue.client.pipeline(transaction=False)
    for index in range(number):
        pipeline.xadd(queue.key("stream"), {"jobId": f"x{index}", "name": "n"}, id=f"{entry_ms}-*")
    pipeline.execute()


def test_entry_is_looked_for_first_around_the_time_of_the_add(call: Call, queue: RawQueue) -> None:
    fill_stream(queue, 6000, 10_000)
    queue.add_waiting("1", entry_ms=20_000, timestamp=20_500)
    assert remove(call, queue) == (True, 1)
    assert "1" not in queue.entries()


def test_entry_far_from_there_is_found_in_bounded_calls(call: Call, queue: RawQueue) -> None:
    # A producer whose clock is ten seconds ahead: the entry stands before where it is looked for first.
    queue.add_waiting("1", entry_ms=10_000, timestamp=20_000)
    fill_stream(queue, 6000, 20_000)
    existed, calls = remove(call, queue)
    assert (existed, calls) == (True, 4)
    assert queue.client.xlen(queue.key("stream")) == 6000
    assert "1" not in queue.entries()
    assert queue.events() == [{"event": "removed", "jobId": "1"}]


def test_a_stub_of_a_job_is_cleaned_up(call: Call, queue: RawQueue) -> None:
    queue.client.hset(queue.key("job:1"), "lastActive", "1")
    assert remove(call, queue) == (True, 1)
    assert queue.suffixes() == ["events"]


def test_a_resume_of_foreign_making_is_refused(call: Call, queue: RawQueue) -> None:
    for resume in ([], [[["-"]], False], [7, False]):
        reply = call("remove", queue.name, id="1", resume=resume or [False])
        assert reply[0] == b"bad_argument"
    with pytest.raises(ServerError, match="resume must come from an earlier reply"):
        RemoveCommand("k", job_id="1").parse_reply(reply)
