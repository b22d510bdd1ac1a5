"""take_deliveries: what a reader has claimed starts, once for each subscription; what the dead held starts again."""

from __future__ import annotations

from tests.lua.driven_broadcast import DrivenBroadcast
from tests.lua.driven_queue import DrivenQueue


def test_a_message_starts_for_each_subscription_with_a_token_of_its_own(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("topic", data='{"m":1}')
    (one,) = broadcast.start_all("s1")
    (two,) = broadcast.start_all("s2")
    assert (one.id, one.name, one.blob[2], one.blob[5]) == ("1", "topic", b'{"m":1}', 0)
    assert one.token != two.token
    assert broadcast.own("1", "s1") == {"x-py:run": one.token}
    assert driven.job("1")["state"] == "active"
    assert driven.job("1")["processedOn"] == driven.job("1")["lastActive"] == str(driven.now)
    assert 86_000 < driven.client.ttl(driven.key("job:1:sub:s1")) <= 86_400


def test_skipped_entries_and_those_without_a_message_are_acknowledged(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    for name in ("skip", "gone", "run"):
        driven.add(name)
    driven.client.delete(driven.key("job:2"))
    skip, gone, run = broadcast.read()
    taken = broadcast.take([gone, run], skipped=[skip])
    assert [started.id for started in taken.started] == ["3"]
    assert broadcast.pending() == [run]
    assert len(driven.entries()) == 3  # the stream is everybody's


def test_the_retry_of_another_subscription_is_acknowledged_unseen(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    broadcast.fail(*broadcast.start_all("s1"), max_attempts=2)
    broadcast.complete(*broadcast.start_all("s2"), subscription="s2")
    driven.promote_due()
    assert broadcast.start_all("s2") == []
    assert broadcast.pending("s2") == []
    (again,) = broadcast.start_all("s1")
    assert again.blob[5] == 1


def test_revoked_and_expired_messages_do_not_start(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("revoked")
    driven.add("expired", ttl=1000)
    driven.client.hset(driven.key("job:1"), "revoked", "1")
    driven.pass_time(1001)
    assert broadcast.start_all() == []
    assert [driven.field(job, "failedReason") for job in ("1", "2")] == ["revoked", "expired"]
    assert broadcast.pending() == []


def test_a_pause_and_an_exhausted_limit_hold_what_was_claimed(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    for name in "abc":
        driven.add(name)
    entries = broadcast.read()
    driven.call("pause")
    assert broadcast.take(entries) == ([], entries, -1, [])
    driven.call("resume")
    driven.call("set_global_rate_limit", max=2, duration_ms=1000)
    taken = broadcast.take(entries)
    assert [run.id for run in taken.started] == ["1", "2"]
    assert (taken.held, taken.look_again_ms) == ([entries[2]], driven.now + 1000)
    driven.pass_time(1000)
    assert [run.id for run in broadcast.take(taken.held).started] == ["3"]


def test_an_entry_that_somebody_else_has_taken_over_is_left_to_them(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    entries = broadcast.read(consumer="slow")
    driven.client.xclaim(driven.key("stream"), "s1", "quick", 0, entries, justid=True)
    assert broadcast.take(entries, consumer="slow").started == []
    assert broadcast.pending() == entries


def idle(driven: DrivenQueue, entry_id: str, consumer: str = "dead") -> None:
    """Nobody has heard of this delivery for a minute."""
    driven.client.xclaim(driven.key("stream"), "s1", consumer, 0, [entry_id], idle=60_000, justid=True)


def test_a_silent_worker_s_messages_are_taken_over_and_those_that_ran_are_charged(
    driven: DrivenQueue,
) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("ran")
    driven.add("claimed")
    driven.add("alive")
    (ran,) = broadcast.take(broadcast.read(consumer="dead", count=1), consumer="dead").started
    (claimed,) = broadcast.read(consumer="dead", count=1)
    broadcast.start_all(consumer="alive")
    idle(driven, ran.entry_id)
    idle(driven, claimed)
    taken = broadcast.take([], stale_ms=30_000)
    assert [run.id for run in taken.started] == ["1", "2"]
    assert taken.recovered == [("1", "stalled")]
    assert "stalled" in driven.events_of("1")
    assert broadcast.complete(ran) == [4]  # its late word does not count
    assert broadcast.complete(*taken.started) == [1, 1]


def test_a_message_that_stalls_too_often_fails_for_this_subscription(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    for expected in ("stalled", "failed"):
        broadcast.start_all(consumer="dead")
        (entry,) = broadcast.pending()
        idle(driven, entry)
        taken = broadcast.take([], stale_ms=30_000, consumer="dead")
        assert taken.recovered == [("1", expected)]
    assert driven.field("1", "failedReason") == "job stalled more than maxStalledCount"
    assert broadcast.pending() == []
    assert [run.id for run in broadcast.start_all("s2")] == ["1"]


def test_what_the_caller_has_in_hand_is_not_stale(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    (run,) = broadcast.start_all()
    idle(driven, run.entry_id, "w")
    assert broadcast.take([], stale_ms=30_000, in_hand=[run.entry_id]) == ([], [], -1, [])
    assert [again.id for again in broadcast.take([], stale_ms=30_000).started] == ["1"]
