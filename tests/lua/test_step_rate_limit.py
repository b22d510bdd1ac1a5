"""gmq_step: how many jobs start per window, by the queue's limit and the worker's own."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.rate_limit import RateLimitOnWire
from glidemq.commands.step import StepCommand
from tests.interop.allowances import AFTER_COMPLETION
from tests.interop.differ import Allowed, assert_same, read_keys
from tests.interop.loader import load_dump
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.raw_queue import RawQueue

BLOCKED = 2


def limit_queue(driven: DrivenQueue, maximum: int, duration_ms: int = 1000) -> None:
    driven.call("set_global_rate_limit", max=maximum, duration_ms=duration_ms)


def limiter(maximum: int, duration_ms: int = 1000) -> dict[str, Any]:
    return {"limiter": {"max": maximum, "duration_ms": duration_ms}}


def window(driven: DrivenQueue) -> tuple[int, int] | None:
    """When the present window began, and how many starts it has counted."""
    stored = driven.client.hgetall(driven.key("rate"))
    return (int(stored[b"windowStart"]), int(stored[b"count"])) if stored else None


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}, {"priority": 3}])
def test_hosts_together_start_no_more_than_the_limit_per_window(
    driven: DrivenQueue, kind: dict[str, int]
) -> None:
    limit_queue(driven, 3)
    driven.enqueue(*[driven.row(**kind) for _ in range(8)])
    opened = driven.now
    assert len(driven.step(2, consumer="c1").ids) == 2
    driven.pass_time(400)
    assert len(driven.step(2, consumer="c2").ids) == 1
    driven.pass_time(599)
    refused = driven.step(2, consumer="c3")
    assert (refused.ids, refused.more, refused.next_due) == ([], BLOCKED, opened + 1000)
    assert window(driven) == (opened, 3)
    driven.pass_time(1)
    assert len(driven.step(5, consumer="c3").ids) == 3
    assert window(driven) == (opened + 1000, 3)


def test_window_opens_with_the_first_start_after_an_idle_time(driven: DrivenQueue) -> None:
    limit_queue(driven, 2)
    driven.step(2)
    assert window(driven) is None
    driven.pass_time(5_300)
    driven.enqueue(*[driven.row() for _ in range(3)])
    stepped = driven.step(3)
    assert len(stepped.ids) == 2
    assert (stepped.more, stepped.next_due) == (BLOCKED, driven.now + 1000)
    assert window(driven) == (driven.now, 2)


def test_last_start_of_a_window_asks_for_a_look_at_its_end(driven: DrivenQueue) -> None:
    limit_queue(driven, 1)
    driven.add()
    stepped = driven.step(1)
    assert (len(stepped.ids), stepped.more, stepped.next_due) == (1, BLOCKED, driven.now + 1000)


def test_drained_queue_asks_for_no_look(driven: DrivenQueue) -> None:
    limit_queue(driven, 2)
    driven.add()
    stepped = driven.step(2)
    assert (len(stepped.ids), stepped.more, stepped.next_due) == (1, 0, -1)


def test_what_does_not_start_is_not_counted(driven: DrivenQueue) -> None:
    limit_queue(driven, 5)
    driven.add(ttl=10)
    driven.add(job_id="revoked")
    driven.client.hset(driven.key("job:revoked"), "revoked", "1")
    driven.add(job_id="removed")
    driven.client.delete(driven.key("job:removed"))
    driven.pass_time(11)
    assert driven.step(5).ids == []
    assert window(driven) is None
    driven.call("pause")
    driven.add()
    assert driven.step(5).ids == []
    assert window(driven) is None


def test_byte_limit_counts_only_what_was_taken(driven: DrivenQueue) -> None:
    limit_queue(driven, 10)
    driven.enqueue(*[driven.row(data='"' + "x" * 400 + '"') for _ in range(5)])
    stepped = driven.step(5, max_bytes=1000)
    assert (len(stepped.ids), stepped.more) == (2, 1)
    assert window(driven) == (driven.now, 2)


def test_what_waits_behind_running_jobs_counts_in_the_window(driven: DrivenQueue) -> None:
    limit_queue(driven, 3)
    driven.enqueue(*[driven.row() for _ in range(5)])
    assert len(driven.step(1, ahead=4).ids) == 3
    assert driven.step(1, ahead=4).ids == []


@pytest.mark.parametrize(("concurrency", "taken"), [(2, 1), (3, 1), (4, 2), (10, 5), (100, 9)])
def test_work_ahead_leaves_half_of_a_global_concurrency_to_others(
    driven: DrivenQueue, concurrency: int, taken: int
) -> None:
    driven.call("set_global_concurrency", concurrency=concurrency)
    driven.enqueue(*[driven.row() for _ in range(20)])
    assert len(driven.step(1, ahead=8).ids) == taken
    assert len(driven.step(10).ids) == min(concurrency - taken, 10)


@pytest.mark.parametrize(
    ("of_queue", "of_worker", "allowed"),
    [
        (None, (2, 1000), 2),
        ((3, 1000), (2, 1000), 2),
        ((2, 1000), (3, 1000), 2),
        ((5, 1000), (4, 500), 5),  # 8 a second are more than 5
        ((4, 1000), (30, 10_000), 30),  # 3 a second are fewer than 4
        ((10, 1000), (1, 100), 1),  # the same rate in smaller portions
    ],
)
def test_stricter_of_the_queue_s_and_the_worker_s_limit_counts(
    driven: DrivenQueue,
    of_queue: tuple[int, int] | None,
    of_worker: tuple[int, int],
    allowed: int,
) -> None:
    if of_queue:
        limit_queue(driven, *of_queue)
    driven.enqueue(*[driven.row() for _ in range(40)])
    assert len(driven.step(40, **limiter(*of_worker)).ids) == allowed
    assert window(driven) == (driven.now, allowed)


def test_limiter_counts_what_workers_with_the_same_one_started(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row() for _ in range(6)])
    assert len(driven.step(2, consumer="c1", **limiter(3)).ids) == 2
    assert len(driven.step(2, consumer="c2", **limiter(3)).ids) == 1
    assert driven.step(2, consumer="c2", **limiter(3)).ids == []


def test_concurrency_and_rate_hold_together(driven: DrivenQueue) -> None:
    limit_queue(driven, 3)
    driven.call("set_global_concurrency", concurrency=2)
    driven.enqueue(*[driven.row() for _ in range(6)])
    first = driven.step(6)
    assert (len(first.ids), first.more, first.next_due) == (2, BLOCKED, -1)
    second = driven.step(6, complete=[driven.completion(job) for job in first.started])
    assert (len(second.ids), second.more, second.next_due) == (1, BLOCKED, driven.now + 1000)


def test_claimed_entry_waits_in_front_for_the_next_window(driven: DrivenQueue) -> None:
    limit_queue(driven, 1)
    driven.enqueue(driven.row(), driven.row(), driven.row())
    driven.step(1)
    claimed = driven.read_as_node("c1")
    stepped = driven.step(1, claimed=claimed)
    assert (stepped.ids, stepped.more, stepped.next_due) == ([], BLOCKED, driven.now + 1000)
    assert driven.pending()[claimed[0][0]] == "py-returned"
    driven.pass_time(1000)
    assert driven.step(1).ids == ["2"]


def test_due_jobs_are_no_reason_to_ask_before_the_window_ends(driven: DrivenQueue) -> None:
    limit_queue(driven, 1)
    opened = driven.now
    driven.enqueue(driven.row(), *[driven.row(delay=10) for _ in range(3)])
    driven.step(1)
    driven.pass_time(20)
    stepped = driven.step(1)
    assert (stepped.more, stepped.next_due) == (BLOCKED, opened + 1000)
    assert len(driven.entries()) == 4


def test_due_jobs_are_no_reason_to_ask_a_queue_that_is_full_or_paused_at_once(driven: DrivenQueue) -> None:
    driven.call("set_global_concurrency", concurrency=1)
    driven.enqueue(driven.row(), *[driven.row(delay=10) for _ in range(3)])
    driven.step(1)
    driven.pass_time(20)
    full = driven.step(1)
    assert (full.more, full.next_due) == (BLOCKED, -1)
    driven.add(delay=10)
    driven.pass_time(20)
    driven.call("pause")
    assert driven.step(1).next_due == -1


def test_window_of_node_is_honoured(driven: DrivenQueue) -> None:
    limit_queue(driven, 5)
    driven.client.hset(driven.key("rate"), mapping={"windowStart": driven.now - 300, "count": 4})
    driven.enqueue(driven.row(), driven.row())
    stepped = driven.step(2)
    assert (len(stepped.ids), stepped.next_due) == (1, driven.now + 700)
    assert window(driven) == (driven.now - 300, 5)


@pytest.mark.parametrize("bad", [{}, {"max": 0, "duration_ms": 5}, {"max": 5}, {"max": 5, "duration_ms": -1}])
def test_limiter_of_nothing_is_refused(driven: DrivenQueue, bad: dict[str, int]) -> None:
    driven.add()
    arguments = {"consumer": "c", "cell": "c", "run": "r", "complete": [], "claimed": [], "ahead": 0}
    reply = driven.call("step", **arguments, slots=1, max_bytes=1000, limiter=bad)
    assert reply == [b"bad_argument", b"max and duration_ms must both be above 0"]


def test_limiter_of_the_python_command_reaches_the_server(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    command = StepCommand(
        driven.key("meta"), consumer="c", cell="c", run="r", complete=[], slots=2, ahead=0, max_bytes=1000,
        limiter=RateLimitOnWire(1, 1000),
    )  # fmt: skip
    result = execute(driven, command)
    assert (len(result.activations), result.blocked, result.next_due_ms) == (1, True, driven.now + 1000)


# -- starts that did not happen


def test_job_given_back_unstarted_makes_room_for_another(driven: DrivenQueue) -> None:
    limit_queue(driven, 2)
    driven.enqueue(*[driven.row() for _ in range(3)])
    first, _ = driven.start(2)
    assert driven.release(first) == [1]
    assert window(driven) == (driven.now, 1)
    assert driven.release(first) == [2]
    assert window(driven) == (driven.now, 1)
    assert driven.step(3).ids == ["1"]


def test_crashed_job_has_used_its_start(driven: DrivenQueue) -> None:
    limit_queue(driven, 1)
    driven.add()
    driven.release(driven.start_one(), crash="SIGSEGV")
    assert window(driven) == (driven.now, 1)


def test_job_of_an_earlier_window_makes_no_room(driven: DrivenQueue) -> None:
    limit_queue(driven, 1)
    driven.enqueue(driven.row(), driven.row())
    job = driven.start_one()
    driven.pass_time(1000)
    driven.start_one()
    driven.release(job)
    assert window(driven) == (driven.now, 1)


def test_activation_whose_reply_was_lost_makes_room(driven: DrivenQueue) -> None:
    limit_queue(driven, 2)
    driven.enqueue(driven.row(), driven.row(lifo=1))
    driven.step(2, consumer="c1")
    assert sorted(driven.recover_orphans(consumer="c1")) == ["1", "2"]
    assert window(driven) == (driven.now, 0)
    assert len(driven.step(2).ids) == 2


def test_start_counted_by_the_worker_s_own_limiter_is_given_back_with_it(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    job = driven.start_one(**limiter(1))
    driven.release(job, **limiter(1))
    assert window(driven) == (driven.now, 0)
    driven.start_one(consumer="c1", **limiter(1))
    assert driven.recover_orphans(consumer="c1", **limiter(1)) == ["1"]
    assert window(driven) == (driven.now, 0)


def test_starts_that_were_not_limited_are_not_given_back(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    driven.step(1, consumer="limited", **limiter(5))
    job = driven.start_one(consumer="unlimited")
    driven.release(job, consumer="unlimited")
    assert window(driven) == (driven.now, 1)


# -- beside Node


def test_limited_queue_of_node_is_left_as_node_leaves_it(call: Call, queue: RawQueue) -> None:
    loaded = load_dump(queue.client, "queue_limits_pause", queue.name)
    driven = DrivenQueue(queue.client, queue.name, call)
    driven.now = 1795313096431
    driven.add("x")
    driven.call("resume")
    driven.create_group()
    driven.now = 1795313096437
    job = driven.start_one()
    driven.pass_time(1)
    assert driven.complete(job, value="1") == [1]
    # Node counts a start after the activation, this library within it.
    counted = Allowed("rate/windowStart", "the call that starts a job also counts it")
    expected = loaded.expected("after_completion")
    assert_same(expected, read_keys(queue.client, [queue.name]), allowed=(*AFTER_COMPLETION, counted))
