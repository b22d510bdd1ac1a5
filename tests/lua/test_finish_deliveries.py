"""finish_deliveries: an outcome counts once, for its subscription; retries come back to it alone."""

from __future__ import annotations

from tests.lua.driven_broadcast import DrivenBroadcast
from tests.lua.driven_queue import DrivenQueue


def test_a_completion_is_recorded_as_node_does_and_the_entry_stays(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    (run,) = broadcast.start_all()
    driven.pass_time(20)
    assert broadcast.complete(run, value='"x"') == [1]
    job = driven.job("1")
    assert (job["state"], job["returnvalue"], job["finishedOn"]) == ("completed", '"x"', str(driven.now))
    assert driven.members("completed") == {"1": driven.now}
    assert driven.events_of("1") == ["added", "completed"]
    assert driven.entries() == ["1"] and broadcast.pending() == []
    assert broadcast.own("1") == {}
    minute = driven.now - driven.now % 60_000
    assert driven.metrics("completed") == {f"m:{minute}:c": 1, f"m:{minute}:d": 20}


def test_a_repeated_or_foreign_outcome_changes_nothing(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    (run,) = broadcast.start_all()
    assert broadcast.complete(run, subscription="s2") == [4]
    assert broadcast.complete(run) == [1]
    before = driven.job("1"), driven.events(), driven.suffixes()
    assert broadcast.complete(run) == [4]
    assert broadcast.fail(run, max_attempts=3) == [[4, 0]]
    assert (driven.job("1"), driven.events(), driven.suffixes()) == before
    driven.client.delete(driven.key("job:1"))
    assert broadcast.complete(run) == [3]


def test_a_failure_is_retried_by_its_own_subscription_until_its_attempts_are_used_up(
    driven: DrivenQueue,
) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a", attempts=2)
    assert broadcast.fail(*broadcast.start_all(), max_attempts=2, delay=500) == [[5, 1]]
    assert driven.members("scheduled") == {"1||s1": driven.now + 500}
    assert broadcast.own("1") == {"a": "1"}
    assert driven.job("1")["state"] == "delayed" and driven.job("1")["attemptsMade"] == "0"
    driven.pass_time(500)
    driven.promote_due()
    (again,) = broadcast.start_all()
    assert (again.id, again.blob[5]) == ("1", 1)
    assert broadcast.fail(again, max_attempts=2) == [[6, 2]]
    assert driven.job("1")["state"] == "failed" and driven.job("1")["failedReason"] == "boom"
    assert driven.events_of("1") == ["added", "retrying", "promoted", "failed"]
    # The other subscription counts for itself.
    assert [other.blob[5] for other in broadcast.start_all("s2")] == [0]


def test_a_message_that_is_put_off_comes_again_uncharged(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a", attempts=1)
    (run,) = broadcast.start_all()
    assert broadcast.fail(run, max_attempts=-1, delay=500) == [[9, 0]]
    assert driven.members("scheduled") == {"1||s1": driven.now + 500}
    assert driven.job("1")["state"] == "delayed" and "failedReason" not in driven.job("1")
    assert driven.events_of("1") == ["added", "retrying"]
    assert broadcast.fail(run, max_attempts=-1, delay=500) == [[4, 0]], "the token is spent"
    driven.pass_time(500)
    driven.promote_due()
    (again,) = broadcast.start_all()
    assert (again.id, again.blob[5]) == ("1", 0)
    assert broadcast.fail(again, max_attempts=1) == [[6, 1]]
    assert broadcast.own("1") == {"a": "1"}


def test_a_message_that_is_put_off_outlives_the_trimming_of_its_entry(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    driven.add("b")
    assert broadcast.fail(broadcast.start_all()[0], max_attempts=-1, delay=1) == [[9, 0]]
    driven.pass_time(1)
    driven.promote_due()
    driven.call("trim_broadcast", max_messages=2, limit=100)
    assert driven.entries() == ["2", "1"]
    assert driven.field("1", "state") == "waiting"


def test_a_revoked_run_fails_whatever_attempts_remain(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    runs = broadcast.start_all()
    driven.client.hset(driven.key("job:1"), "revoked", "1")
    assert broadcast.fail(*runs, max_attempts=5) == [[6, 1]]
    assert driven.field("1", "failedReason") == "revoked"


def test_nonsense_is_refused(driven: DrivenQueue) -> None:
    reply = driven.call("finish_deliveries", subscription="s", completed=[[1]], failed=[])
    assert reply[0] == b"bad_argument"
