"""A repeatAfterComplete scheduler goes on after every end of its run, whoever ended it and however."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.driven_queue import DrivenQueue
from tests.lua.schedules import Schedules

AFTER = 10_000
SIGNAL_TIMES = 3


@pytest.fixture
def outstanding(schedules: Schedules) -> Schedules:
    """Scheduler `r` has fired; its job 1 waits."""
    schedules.upsert("r", repeatAfterComplete=AFTER, template={"opts": {"attempts": 2}})
    assert schedules.tick() == [("r", "1")]
    assert schedules.driven.job("1")["schedulerName"] == "r"
    assert schedules.next_run("r") == 0
    schedules.driven.pass_time(500)
    return schedules


def assert_goes_on(schedules: Schedules, ended_at: int | None = None) -> None:
    due = (schedules.now if ended_at is None else ended_at) + AFTER
    assert schedules.next_run("r") == due
    assert schedules.looks()["r"] == due
    assert not schedules.driven.client.exists(schedules.driven.key("x-py:scheduler-runs"))
    assert schedules.tick_at(due) == [("r", "2")]
    assert schedules.entry("r")["iterationCount"] == 2
    assert schedules.next_run("r") == 0


def complete(driven: DrivenQueue) -> None:
    assert driven.complete(driven.start_one()) == [1]


def complete_and_remove(driven: DrivenQueue) -> None:
    assert driven.complete(driven.start_one(), retain=True) == [1]


def fail_for_good(driven: DrivenQueue) -> None:
    assert driven.fail(driven.start_one()) == [[6, 1]]


def crash_too_often(driven: DrivenQueue) -> None:
    for _ in range(SIGNAL_TIMES):
        driven.release(driven.start_one(), crash="SIGSEGV", max_crashes=SIGNAL_TIMES)


def stall_too_often(driven: DrivenQueue) -> None:
    driven.start_one()
    driven.pass_time(60_000)
    assert driven.recover_stalled(max_stalled=0) == {"1": "failed"}


def expire_before_the_start(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("job:1"), "expireAt", driven.now - 1)
    assert driven.step(1).expired == 1


def expire_while_delayed(driven: DrivenQueue) -> None:
    driven.fail(driven.start_one(), max_attempts=2, delay=100)
    driven.client.hset(driven.key("job:1"), "expireAt", driven.now + 1)
    driven.pass_time(100)
    assert driven.promote_due()[1] == 1


def revoke_before_the_start(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("job:1"), "revoked", "1")
    assert driven.step(1).started == []


def revoke_by_hand(driven: DrivenQueue) -> None:
    assert driven.call("revoke", id="1")[0] == b"revoked"


def damage(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("job:1"), "opts", "nonsense")
    assert driven.step(1).quarantined == 1


def remove_while_waiting(driven: DrivenQueue) -> None:
    assert driven.call("remove", id="1")[0] == b"ok"


def drain_while_waiting(driven: DrivenQueue) -> None:
    assert driven.call("drain", delayed=False) == [b"done", 1]


def remove_while_running(driven: DrivenQueue) -> None:
    driven.start_one()
    assert driven.call("remove", id="1")[0] == b"ok"


@pytest.mark.parametrize(
    "end",
    [
        complete,
        complete_and_remove,
        fail_for_good,
        crash_too_often,
        stall_too_often,
        expire_before_the_start,
        expire_while_delayed,
        revoke_before_the_start,
        damage,
        remove_while_waiting,
        remove_while_running,
        drain_while_waiting,
        revoke_by_hand,
    ],
)
def test_next_run_follows_the_end(outstanding: Schedules, end: Any) -> None:
    end(outstanding.driven)
    assert_goes_on(outstanding)


def test_nothing_follows_before_the_end(outstanding: Schedules) -> None:
    driven = outstanding.driven
    assert driven.fail(driven.start_one(), max_attempts=2, delay=100) == [[5, 1]]
    assert outstanding.next_run("r") == 0
    driven.pass_time(100)
    driven.release(driven.start_one())
    assert outstanding.next_run("r") == 0
    driven.start_one()
    driven.pass_time(60_000)
    assert driven.recover_stalled(max_stalled=1) == {"1": "stalled"}
    assert outstanding.next_run("r") == 0
    assert outstanding.tick() == []
    complete(driven)
    assert_goes_on(outstanding)


def test_late_report_of_a_lost_run_does_not_count(outstanding: Schedules) -> None:
    driven = outstanding.driven
    late = driven.start_one()
    driven.pass_time(60_000)
    driven.recover_stalled()
    current = driven.start_one()
    assert driven.complete(late) == [4]
    assert outstanding.next_run("r") == 0
    assert driven.complete(current) == [1]
    assert_goes_on(outstanding)


def test_end_past_the_bounds_removes_the_scheduler(schedules: Schedules) -> None:
    schedules.upsert("r", repeatAfterComplete=AFTER, endDate=schedules.now + AFTER)
    schedules.tick()
    schedules.driven.pass_time(1)
    complete(schedules.driven)
    assert schedules.text("r") is None
    assert schedules.looks() == {}


def test_removing_or_finishing_other_jobs_of_the_scheduler_changes_nothing(outstanding: Schedules) -> None:
    driven = outstanding.driven
    complete(driven)
    outstanding.tick_at(outstanding.next_run("r"))
    assert driven.call("remove", id="1")[0] == b"ok"
    assert outstanding.next_run("r") == 0
    # One that a user added again under the scheduler's name.
    driven.add_waiting("extra", schedulerName="r")
    first, second = driven.start(2)
    assert (first.id, second.id) == ("2", "extra")
    driven.complete(second)
    assert outstanding.next_run("r") == 0
    driven.complete(first)
    assert outstanding.next_run("r") == outstanding.now + AFTER


def test_run_that_node_started_re_arms_by_its_scheduler_s_name(schedules: Schedules) -> None:
    """Node notes no id; any end of a job of this scheduler counts then, as in Node."""
    entry = {"repeatAfterComplete": AFTER, "iterationCount": 1, "nextRun": 0, "lastRun": schedules.now}
    schedules.write("r", entry)
    schedules.driven.add_waiting("node", schedulerName="r")
    schedules.driven.pass_time(700)
    complete(schedules.driven)
    assert schedules.next_run("r") == schedules.now + AFTER


def test_later_run_that_node_started_is_not_mistaken_for_ours(outstanding: Schedules) -> None:
    """Our run ended on a Node worker, and Node fired the next one: our note is out of date."""
    driven = outstanding.driven
    driven.client.hset(driven.key("job:1"), mapping={"state": "completed", "finishedOn": driven.now})
    driven.client.delete(driven.key("stream"))
    driven.pass_time(20_000)
    outstanding.write("r", {**outstanding.entry("r"), "iterationCount": 2, "lastRun": driven.now})
    driven.add_waiting("node", schedulerName="r")
    driven.pass_time(29_000)
    assert outstanding.tick() == []
    assert outstanding.next_run("r") == 0
    complete(driven)
    assert outstanding.next_run("r") == outstanding.now + AFTER


@pytest.mark.parametrize(
    "entry",
    [
        '{"every":100,"nextRun":5}',
        '{"repeatAfterComplete":100,"nextRun":5}',
        '{"repeatAfterComplete":0,"nextRun":0}',
        "nonsense",
    ],
)
def test_entry_that_waits_for_nothing_is_left_as_it_is(schedules: Schedules, entry: str) -> None:
    schedules.write("r", entry)
    schedules.driven.add_waiting("1", schedulerName="r")
    complete(schedules.driven)
    assert schedules.text("r") == entry


def test_foreign_key_in_place_of_the_schedulers_stops_no_worker(schedules: Schedules) -> None:
    schedules.driven.client.set(schedules.driven.key("schedulers"), "text")
    schedules.driven.add_waiting("1", schedulerName="r")
    complete(schedules.driven)
    assert schedules.driven.state("1") == "completed"
