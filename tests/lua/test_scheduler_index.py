"""What Node does to the schedulers is noticed, although it knows nothing of the times to look at them."""

from __future__ import annotations

from tests.lua.schedules import Schedules

SECOND = 1_000
MINUTE = 60_000
LONG = {"data": "x" * 1_100}  # keeps the hash from being one listpack, which a scan returns whole


def test_scheduler_that_node_created_is_seen_by_the_next_look(schedules: Schedules) -> None:
    schedules.upsert("ours", every=MINUTE)
    assert schedules.tick() == []
    schedules.write(
        "node", {"every": 300, "iterationCount": 0, "template": {}, "nextRun": schedules.now + 300}
    )
    assert schedules.tick_once().next_look_ms == schedules.now + 300
    schedules.driven.pass_time(300)
    assert schedules.tick() == [("node", "1")]


def test_scheduler_that_node_changed_is_seen_within_a_second(schedules: Schedules) -> None:
    schedules.upsert("s", every=MINUTE)
    schedules.tick()
    schedules.write("s", {"every": 100, "iterationCount": 0, "nextRun": schedules.now + 100})
    schedules.driven.pass_time(SECOND)
    assert schedules.tick() == [("s", "1")]


def test_slot_that_node_fired_is_not_fired_again(schedules: Schedules) -> None:
    schedules.upsert("s", every=100)
    schedules.driven.pass_time(100)
    fired = {
        **schedules.entry("s"),
        "iterationCount": 1,
        "lastRun": schedules.now,
        "nextRun": schedules.now + 100,
    }
    schedules.write("s", fired)
    tick = schedules.tick_once()
    assert tick.fired == []
    assert tick.next_look_ms == schedules.now + 100
    assert schedules.entry("s") == fired


def test_scheduler_that_node_removed_is_forgotten(schedules: Schedules) -> None:
    schedules.upsert("far", every=10 * 365 * 86_400_000)
    schedules.upsert("stays", every=MINUTE)
    schedules.upsert("waits", repeatAfterComplete=1)
    schedules.tick()
    for name in ("far", "waits"):
        schedules.driven.client.hdel(schedules.driven.key("schedulers"), name)
    schedules.driven.pass_time(SECOND)
    schedules.tick()
    assert list(schedules.looks()) == ["stays"]
    assert not schedules.driven.client.exists(schedules.driven.key("x-py:scheduler-runs"))


def test_nothing_of_ours_is_left_when_the_last_one_is_gone(schedules: Schedules) -> None:
    schedules.upsert("s", repeatAfterComplete=1)
    schedules.tick()
    schedules.driven.client.delete(schedules.driven.key("schedulers"))
    schedules.tick_once()
    assert [suffix for suffix in schedules.driven.suffixes() if "scheduler" in suffix] == []


def test_lost_index_is_rebuilt_from_the_entries(schedules: Schedules) -> None:
    for number in range(300):
        schedules.upsert(f"s{number}", every=SECOND, template=LONG)
    schedules.tick()
    looks = schedules.looks()
    schedules.driven.client.delete(schedules.driven.key("x-py:schedulers"))
    schedules.tick_once()
    assert 0 < len(schedules.looks()) < 250
    # Entries that were never seen are read at every look, not at every second.
    for _ in range(10):
        schedules.tick()
    assert schedules.looks() == looks
    schedules.driven.pass_time(SECOND)
    assert len(schedules.tick()) == 300


def test_a_look_at_many_schedulers_reads_a_slice_of_them(schedules: Schedules) -> None:
    for number in range(600):
        schedules.upsert(f"s{number}", every=MINUTE, template=LONG)
    schedules.tick()
    client = schedules.driven.client
    for name in ("s3", "s400"):
        schedules.write(name, {**schedules.entry(name), "nextRun": schedules.now + 5 * SECOND})
    client.config_resetstat()
    schedules.driven.pass_time(SECOND)
    schedules.tick_once()
    schedules.driven.pass_time(1)
    schedules.tick_once()  # within the second nobody reads
    stats = client.info("commandstats")
    assert stats["cmdstat_hscan"]["calls"] == 1
    assert "cmdstat_hgetall" not in stats
    fired = []
    for _ in range(12):
        schedules.driven.pass_time(SECOND)
        fired += [name for name, _ in schedules.tick()]
    assert sorted(fired) == ["s3", "s400"]
