"""fire_schedulers: each due slot adds one job, whoever ticks and whenever."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.fire_schedulers import CANNOT_TELL
from glidemq.options.cron import next_cron_run
from tests.lua.schedules import TOKEN, Schedules

OTHER = "feedfacefeedface"
HOUR = 3_600_000


def test_queue_without_schedulers_is_told_so_and_gets_no_keys(schedules: Schedules) -> None:
    tick = schedules.tick_once()
    assert (tick.fired, tick.wanted, tick.next_look_ms) == ([], [], -1)
    assert schedules.driven.suffixes() == []


def test_interval_fires_at_its_slot_and_not_before(schedules: Schedules) -> None:
    start = schedules.now
    schedules.upsert("s", every=300, template={"name": "tick", "data": {"e": 1}, "opts": {"attempts": 2}})
    assert schedules.tick_at(start + 299) == []
    assert schedules.tick_once().next_look_ms == start + 300
    assert schedules.tick_at(start + 300) == [("s", "1")]
    assert schedules.driven.job("1") == {
        "id": "1", "name": "tick", "data": '{"e":1}', "opts": '{"attempts":2}', "timestamp": str(start + 300),
        "attemptsMade": "0", "delay": "0", "priority": "0", "maxAttempts": "2", "state": "waiting",
    }  # fmt: skip
    assert schedules.driven.entries() == ["1"]
    assert schedules.driven.events() == [{"event": "added", "jobId": "1", "name": "tick"}]
    assert schedules.tick() == []


def test_interval_stays_on_its_grid_and_skips_what_was_missed(schedules: Schedules) -> None:
    start = schedules.now
    schedules.upsert("s", every=1000)
    assert schedules.tick_at(start + 1007) == [("s", "1")]
    assert schedules.next_run("s") == start + 2000
    # Nobody was there for three slots: one run is made, the next comes at its old place.
    assert schedules.tick_at(start + 5500) == [("s", "2")]
    assert schedules.next_run("s") == start + 6000
    assert schedules.tick_at(start + 6000) == [("s", "3")]
    assert schedules.entry("s")["iterationCount"] == 3
    assert schedules.entry("s")["lastRun"] == start + 6000


def test_cron_pattern_asks_for_the_following_slot_before_it_fires(schedules: Schedules) -> None:
    slot = schedules.upsert("c", pattern="0 * * * *", tz="Europe/Berlin")["nextRun"]
    schedules.driven.now = slot
    tick = schedules.tick_once()
    assert tick.fired == []
    assert [tuple(wanted) for wanted in tick.wanted] == [(b"c", slot, b"0 * * * *", b"Europe/Berlin")]
    assert schedules.lock() == TOKEN
    tick = schedules.tick_once(following=[tick.wanted[0].followed_by(slot + HOUR)])
    assert tick.fired == [(b"c", b"1")]
    assert tick.next_look_ms == slot + HOUR
    assert schedules.lock() is None
    assert schedules.next_run("c") == slot + HOUR


def test_cron_slots_missed_are_skipped(schedules: Schedules) -> None:
    slot = schedules.upsert("c", pattern="*/5 * * * *")["nextRun"]
    assert schedules.tick_at(slot + 17 * 60_000) == [("c", "1")]
    assert schedules.next_run("c") == slot + 20 * 60_000


def test_following_slot_that_is_past_already_is_asked_for_again(schedules: Schedules) -> None:
    slot = schedules.upsert("c", pattern="* * * * *")["nextRun"]
    schedules.driven.now = slot
    [wanted] = schedules.tick_once().wanted
    schedules.driven.now = slot + 60_000
    tick = schedules.tick_once(following=[wanted.followed_by(slot + 60_000)])
    assert tick.fired == []
    assert tick.wanted == [wanted]


def test_following_slot_of_another_entry_is_not_taken(schedules: Schedules) -> None:
    slot = schedules.upsert("c", pattern="0 * * * *")["nextRun"]
    schedules.driven.now = slot
    [wanted] = schedules.tick_once().wanted
    schedules.drop_lock()
    # Another pattern whose next run happens to be the same slot.
    schedules.write("c", {"pattern": "0 */2 * * *", "iterationCount": 0, "nextRun": slot})
    tick = schedules.tick_once(following=[wanted.followed_by(slot + HOUR)])
    assert tick.fired == []
    assert [again.pattern for again in tick.wanted] == [b"0 */2 * * *"]


def test_pattern_without_a_following_slot_fires_and_is_removed(schedules: Schedules) -> None:
    slot = schedules.upsert("c", pattern="0 * * * *")["nextRun"]
    schedules.driven.now = slot
    [wanted] = schedules.tick_once().wanted
    tick = schedules.tick_once(following=[wanted.followed_by(None)])
    assert tick.fired == [(b"c", b"1")]
    assert tick.next_look_ms == -1
    assert schedules.text("c") is None


def test_pattern_that_the_caller_cannot_read_waits_without_harm(schedules: Schedules) -> None:
    schedules.write("c", {"pattern": "0 0 L * *", "iterationCount": 0, "nextRun": schedules.now})
    text = schedules.text("c")
    [wanted] = schedules.tick_once().wanted
    tick = schedules.tick_once(following=[wanted.followed_by(CANNOT_TELL)])
    assert (tick.fired, tick.wanted) == ([], [])
    assert tick.next_look_ms == schedules.now + 1_000
    assert schedules.text("c") == text
    assert schedules.lock() is None


def test_pattern_that_one_host_cannot_read_fires_on_another(schedules: Schedules) -> None:
    slot = schedules.upsert("c", pattern="0 * * * *", tz="Europe/Berlin")["nextRun"]
    schedules.driven.now = slot
    [wanted] = schedules.tick_once(token=TOKEN).wanted
    schedules.tick_once(token=TOKEN, following=[wanted.followed_by(CANNOT_TELL)])
    schedules.driven.pass_time(1_000)
    assert schedules.tick(token=OTHER) == [("c", "1")]


@pytest.mark.parametrize("every", ["1e-300", "0.5", "-5", "1e300", '"300"', "true"])
def test_interval_that_nobody_can_keep_is_no_mode(schedules: Schedules, every: str) -> None:
    schedules.write("s", f'{{"every":{every},"iterationCount":0,"nextRun":{schedules.now}}}')
    assert schedules.tick() == []
    assert schedules.text("s") is None


def test_limit_that_makes_no_sense_is_none(schedules: Schedules) -> None:
    schedules.write("s", f'{{"every":100,"limit":0,"iterationCount":3,"nextRun":{schedules.now}}}')
    assert schedules.tick() == [("s", "1")]


def test_lost_reply_and_repeated_call_fire_once(schedules: Schedules) -> None:
    slot = schedules.upsert("c", pattern="0 * * * *")["nextRun"]
    schedules.driven.now = slot
    [wanted] = schedules.tick_once().wanted
    following = [wanted.followed_by(slot + HOUR)]
    assert schedules.tick_once(following=following).fired == [(b"c", b"1")]
    assert schedules.tick_once(following=following).fired == []
    assert schedules.driven.entries() == ["1"]


def test_leader_that_was_frozen_between_its_calls_fires_nothing_twice(schedules: Schedules) -> None:
    slot = schedules.upsert("c", pattern="* * * * *")["nextRun"]
    schedules.driven.now = slot
    [wanted] = schedules.tick_once(token=TOKEN).wanted
    assert schedules.tick_once(token=OTHER).busy_ms is not None
    schedules.drop_lock()  # it expired
    assert schedules.tick(token=OTHER) == [("c", "1")]
    frozen = schedules.tick_once(token=TOKEN, following=[wanted.followed_by(slot + 60_000)])
    assert frozen.fired == []
    assert schedules.driven.entries() == ["1"]


def test_leader_that_lost_the_lock_to_another_does_nothing(schedules: Schedules) -> None:
    slot = schedules.upsert("c", pattern="* * * * *")["nextRun"]
    schedules.driven.now = slot
    [wanted] = schedules.tick_once(token=TOKEN).wanted
    schedules.take_lock(OTHER)
    before = schedules.driven.snapshot()
    frozen = schedules.tick_once(token=TOKEN, following=[wanted.followed_by(slot + 60_000)])
    assert frozen.busy_ms is not None
    assert frozen.busy_ms > 0
    assert schedules.driven.snapshot() == before
    assert schedules.lock() == OTHER


def test_nothing_fires_while_node_holds_the_lock(schedules: Schedules) -> None:
    schedules.upsert("s", every=100)
    schedules.driven.pass_time(100)
    schedules.take_lock()
    assert schedules.tick_once().busy_ms is not None
    assert schedules.driven.entries() == []
    schedules.drop_lock()
    assert schedules.tick() == [("s", "1")]


def test_lock_is_renewed_while_patterns_are_asked_for(schedules: Schedules) -> None:
    slot = schedules.upsert("c", pattern="* * * * *")["nextRun"]
    schedules.driven.now = slot
    schedules.tick_once(lock_ms=1000)
    lock = schedules.driven.key("schedulers:lock:__tick__")
    schedules.driven.client.pexpire(lock, 100)
    schedules.tick_once(lock_ms=5000)
    assert schedules.driven.client.pttl(lock) > 1000


@pytest.mark.parametrize("mode", [{"every": 100}, {"pattern": "* * * * *"}, {"repeatAfterComplete": 1}])
def test_limit_is_the_number_of_jobs(schedules: Schedules, mode: dict[str, Any]) -> None:
    schedules.upsert("s", limit=2, **mode)
    for number in (1, 2):
        schedules.driven.now = schedules.next_run("s")
        assert schedules.tick() == [("s", str(number))]
        if "repeatAfterComplete" in mode and number == 1:
            schedules.driven.complete(schedules.driven.start_one())
    assert schedules.text("s") is None
    assert schedules.looks() == {}
    assert schedules.driven.client.exists(schedules.driven.key("x-py:scheduler-runs")) == 0


def test_last_run_of_a_pattern_does_not_ask_what_follows(schedules: Schedules) -> None:
    slot = schedules.upsert("c", pattern="* * * * *", limit=1)["nextRun"]
    schedules.driven.now = slot
    tick = schedules.tick_once()
    assert (tick.fired, tick.wanted) == ([(b"c", b"1")], [])


def test_scheduler_removes_itself_when_its_next_run_is_past_the_end(schedules: Schedules) -> None:
    start = schedules.now
    schedules.upsert("s", every=100, endDate=start + 250)
    assert schedules.tick_at(start + 100) == [("s", "1")]
    assert schedules.tick_at(start + 200) == [("s", "2")]
    assert schedules.text("s") is None


def test_due_run_past_the_end_is_dropped(schedules: Schedules) -> None:
    start = schedules.now
    schedules.write("s", {"every": 100, "endDate": start - 1, "iterationCount": 0, "nextRun": start})
    assert schedules.tick() == []
    assert schedules.text("s") is None


def test_run_at_the_end_itself_is_made(schedules: Schedules) -> None:
    schedules.upsert("s", every=100, endDate=schedules.now + 100)
    assert schedules.tick_at(schedules.now + 100) == [("s", "1")]


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[1]", '{"every":100,"nextRun":1', '{"every":1}}'])
def test_unreadable_entry_is_left_alone(schedules: Schedules, text: str) -> None:
    schedules.write("s", text)
    assert schedules.tick() == []
    assert schedules.text("s") == text


def test_entry_without_a_mode_is_deleted_as_node_does(schedules: Schedules) -> None:
    schedules.write("none", {"iterationCount": 0, "nextRun": schedules.now})
    schedules.write("zero", {"every": 0, "pattern": "", "nextRun": schedules.now})
    schedules.driven.pass_time(60_000)
    schedules.tick()
    schedules.driven.pass_time(60_000)
    schedules.tick()
    assert (schedules.text("none"), schedules.text("zero")) == (None, None)


def test_entry_without_a_next_run_never_fires(schedules: Schedules) -> None:
    schedules.write("a", {"every": 100, "iterationCount": 0, "nextRun": 0})
    schedules.write("b", {"every": 100, "iterationCount": 0})
    for _ in range(3):
        assert schedules.tick() == []
        schedules.driven.pass_time(60_000)
    assert schedules.text("a") is not None
    assert schedules.text("b") is not None


def test_many_due_schedulers_fire_in_bounded_calls_in_the_order_of_their_slots(schedules: Schedules) -> None:
    for number in range(25):
        schedules.upsert(f"s{number:02}", every=100 + number)
    schedules.driven.pass_time(1000)
    tick = schedules.tick_once(limit=10)
    assert [name for name, _ in tick.fired] == [f"s{number:02}".encode() for number in range(10)]
    assert tick.next_look_ms <= tick.now_ms
    assert len(schedules.tick_once(limit=10).fired) == 10
    tick = schedules.tick_once(limit=10)
    assert len(tick.fired) == 5
    assert tick.next_look_ms > tick.now_ms


def test_many_due_patterns_fire_in_bounded_calls(schedules: Schedules) -> None:
    slot = 0
    for number in range(25):
        slot = schedules.upsert(f"c{number}", pattern="0 * * * *")["nextRun"]
    schedules.driven.now = slot
    assert len(schedules.tick(limit=10)) == 25
    assert next_cron_run("0 * * * *", None, slot) == schedules.next_run("c0")


def test_id_counter_that_is_no_number_stops_everything_unharmed(schedules: Schedules) -> None:
    schedules.upsert("s", every=100)
    schedules.driven.client.set(schedules.driven.key("id"), "not a number")
    schedules.driven.pass_time(100)
    before = schedules.text("s")
    reply = schedules.driven.call("fire_schedulers", token=TOKEN, lock_ms=1, limit=10, following=[])
    assert reply[0] == b"bad_id_counter"
    assert schedules.text("s") == before
    schedules.driven.client.set(schedules.driven.key("id"), "7")
    assert schedules.tick() == [("s", "8")]


@pytest.mark.parametrize("row", [["c"], ["c", "1", "p", False, 1], ["c", 1, 2, False, 1], "c"])
def test_malformed_following_is_refused(schedules: Schedules, row: Any) -> None:
    reply = schedules.driven.call("fire_schedulers", token=TOKEN, lock_ms=1, limit=10, following=[row])
    assert reply[0] == b"bad_argument"
