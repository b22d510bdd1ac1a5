"""Schedulers that wait for a run which ended unseen go on; those whose run lives are left alone."""

from __future__ import annotations

import pytest

from tests.lua.schedules import Schedules

AFTER = 10_000
LIVE_MS = 5_000
GRACE_MS = 1_000
PATIENCE_MS = 30_000


@pytest.fixture
def waiting(schedules: Schedules) -> Schedules:
    """Scheduler `r` has fired; its job 1 waits."""
    schedules.upsert("r", repeatAfterComplete=AFTER)
    assert schedules.tick() == [("r", "1")]
    return schedules


def tick_for(schedules: Schedules, ms: int, step: int = 500) -> list[tuple[str, str]]:
    """Tick as an actor does for some time."""
    fired = []
    for _ in range(ms // step):
        schedules.driven.pass_time(step)
        fired += schedules.tick()
    return fired


def vanish(schedules: Schedules, job_id: str = "1") -> None:
    schedules.driven.client.delete(schedules.driven.key(f"job:{job_id}"), schedules.driven.key("stream"))


def test_live_run_is_waited_for_at_any_length(waiting: Schedules) -> None:
    waiting.driven.start_one()
    assert tick_for(waiting, 120_000, 3_000) == []
    assert waiting.next_run("r") == 0


def test_live_run_is_looked_at_rarely(waiting: Schedules) -> None:
    assert waiting.looks()["r"] == waiting.now + LIVE_MS
    waiting.tick_at(waiting.now + LIVE_MS)
    assert waiting.looks()["r"] == waiting.now + LIVE_MS


def test_run_that_was_deleted_is_followed(waiting: Schedules) -> None:
    vanish(waiting)
    assert tick_for(waiting, LIVE_MS) == []
    assert waiting.next_run("r") == waiting.now + AFTER
    assert tick_for(waiting, AFTER) == [("r", "2")]


@pytest.mark.parametrize("state", ["failed", "completed"])
def test_run_that_ended_unseen_is_followed_from_its_end(waiting: Schedules, state: str) -> None:
    ended_at = waiting.now + 100
    waiting.end_unseen("1", state, ended_at)
    tick_for(waiting, LIVE_MS)
    assert waiting.next_run("r") == ended_at + AFTER


def test_run_that_ended_unseen_between_two_attempts_does_not_come_back_beside_the_next(
    waiting: Schedules,
) -> None:
    driven = waiting.driven
    driven.fail(driven.start_one(), max_attempts=9, delay=50)
    waiting.end_unseen("1", "failed", waiting.now)
    assert tick_for(waiting, LIVE_MS + AFTER) == [("r", "2")]
    driven.promote_due()
    assert [job.id for job in driven.step(5).started] == ["2"]


def test_failed_run_that_is_retried_by_hand_runs_beside_the_next(waiting: Schedules) -> None:
    """The schedule went on when it failed; who retries it wants it to run, too."""
    driven = waiting.driven
    driven.fail(driven.start_one())
    assert tick_for(waiting, AFTER) == [("r", "2")]
    driven.client.zadd(driven.key("scheduled"), {"1": waiting.now})  # what Node writes first
    driven.promote_due()
    assert sorted(job.id for job in driven.step(5).started) == ["1", "2"]


def test_node_has_a_moment_to_go_on_by_itself(waiting: Schedules) -> None:
    waiting.driven.pass_time(LIVE_MS)
    waiting.end_unseen("1", "completed", waiting.now - 10)
    waiting.tick()
    assert waiting.next_run("r") == 0
    waiting.tick_at(waiting.now - 10 + GRACE_MS)
    assert waiting.next_run("r") == waiting.now - GRACE_MS + AFTER


def test_stub_left_by_a_late_write_is_no_run(waiting: Schedules) -> None:
    vanish(waiting)
    waiting.driven.client.hset(waiting.driven.key("job:1"), "lastActive", "5")
    tick_for(waiting, LIVE_MS)
    assert waiting.next_run("r") == waiting.now + AFTER


def node_fired(schedules: Schedules, job_id: str = "77") -> None:
    """A Node worker fired `r` with this job, and noted nothing of ours."""
    entry = {"repeatAfterComplete": AFTER, "iterationCount": 1, "nextRun": 0, "lastRun": schedules.now}
    schedules.write("r", entry)
    schedules.driven.add_waiting(job_id, schedulerName="r")


def test_run_of_node_that_is_gone_is_searched_for_and_followed(schedules: Schedules) -> None:
    node_fired(schedules)
    for number in range(30):
        schedules.driven.hash(f"other{number}", state="waiting", schedulerName="another")
    vanish(schedules, "77")
    assert tick_for(schedules, PATIENCE_MS - 1000) == []
    assert schedules.next_run("r") == 0
    for _ in range(100):
        tick_for(schedules, 1_000)
        if schedules.next_run("r"):
            break
    assert 0 < schedules.next_run("r") - schedules.now <= AFTER
    assert len(tick_for(schedules, AFTER)) == 1


def test_run_of_node_that_lives_is_found_and_waited_for(schedules: Schedules) -> None:
    node_fired(schedules)
    for number in range(30):
        schedules.driven.hash(f"old{number}", state="completed", schedulerName="r")
    schedules.driven.client.set(schedules.driven.key("job:77:usage-lock"), "x")
    assert tick_for(schedules, 120_000, 1_000) == []
    assert schedules.next_run("r") == 0
    noted = schedules.driven.client.hget(schedules.driven.key("x-py:scheduler-runs"), "r")
    assert noted == f"{schedules.entry('r')['lastRun']}:77".encode()
    schedules.driven.complete(schedules.driven.start_one())
    assert schedules.next_run("r") == schedules.now + AFTER


def test_search_goes_on_in_bounded_slices(schedules: Schedules) -> None:
    client = schedules.driven.client
    pipeline = client.pipeline(transaction=False)
    for number in range(6_000):
        pipeline.hset(
            schedules.driven.key(f"job:x{number}"), mapping={"state": "completed", "id": f"x{number}"}
        )
    pipeline.execute()
    node_fired(schedules)
    tick_for(schedules, PATIENCE_MS + 1000, 1_000)
    noted = client.hget(schedules.driven.key("x-py:scheduler-runs"), "r")
    assert noted is not None
    assert b"?" in noted or noted.endswith(b":77")
    tick_for(schedules, 60_000, 1_000)
    noted = client.hget(schedules.driven.key("x-py:scheduler-runs"), "r")
    assert noted is not None
    assert noted.endswith(b":77")


def test_one_call_searches_for_one_scheduler_at_most_and_each_gets_its_turn(schedules: Schedules) -> None:
    names = ["r0", "r1", "r2"]
    past = schedules.now - PATIENCE_MS
    for name in names:
        entry = {"repeatAfterComplete": AFTER, "iterationCount": 1, "nextRun": 0, "lastRun": past}
        schedules.write(name, entry)
    client = schedules.driven.client
    client.config_resetstat()
    schedules.tick_once()
    assert client.info("commandstats")["cmdstat_scan"]["calls"] == 1
    for _ in range(300):
        tick_for(schedules, 1_000, 1_000)
        if all(schedules.entry(name)["iterationCount"] > 1 for name in names):
            break
    assert [schedules.entry(name)["iterationCount"] for name in names] == [2, 2, 2]
