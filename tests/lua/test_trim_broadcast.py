"""trim_broadcast: exactly the newest messages stay, and of the others nothing does."""

from __future__ import annotations

from tests.lua.driven_broadcast import DrivenBroadcast
from tests.lua.driven_queue import DrivenQueue


def trim(driven: DrivenQueue, most: int) -> int:
    """Rounds until it is done; how many messages were deleted."""
    deleted = 0
    while True:
        status, count = driven.call("trim_broadcast", max_messages=most)
        deleted += count
        if status == b"done":
            return deleted


def test_the_newest_stay_and_the_others_go_with_all_that_belongs_to_them(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    for number in range(5):
        driven.add(f"n{number}")
    runs = broadcast.start_all()
    broadcast.complete(*runs[:3])
    for prefix in ("log", "signals"):
        driven.client.rpush(driven.key(f"{prefix}:1"), "x")
    driven.client.xadd(driven.key("jstream:1"), {"t": "x"})
    assert trim(driven, 2) == 3
    assert driven.entries() == ["4", "5"]
    left = {
        suffix for suffix in driven.suffixes() if suffix.split(":")[-1] in ("1", "2", "3") or ":1" in suffix
    }
    assert left == set()
    assert driven.members("completed") == {}
    assert trim(driven, 2) == 0


def test_a_run_whose_message_was_trimmed_is_told_that_it_is_gone(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("old")
    (run,) = broadcast.start_all()
    driven.add("new")
    trim(driven, 1)
    assert broadcast.complete(run) == [3]
    assert not driven.client.exists(driven.key("job:1"))


def test_a_message_with_a_retry_ahead_is_kept_until_that_is_trimmed(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("again")
    broadcast.fail(*broadcast.start_all(), max_attempts=3, delay=100)
    driven.add("b")
    assert trim(driven, 1) == 0
    assert driven.state("1") == "delayed"
    driven.pass_time(100)
    driven.promote_due()
    assert trim(driven, 1) == 1  # the entry of b; that of the retry is newer
    assert [run.id for run in broadcast.start_all()] == ["1"]
    driven.add("c")
    assert trim(driven, 1) == 1
    assert driven.state("1") is None


def test_many_are_trimmed_in_rounds(driven: DrivenQueue) -> None:
    DrivenBroadcast(driven)
    driven.enqueue(*[driven.row("n") for _ in range(1203)])
    assert driven.call("trim_broadcast", max_messages=3) == [b"more", 500]
    assert trim(driven, 3) == 700
    assert driven.entries() == ["1201", "1202", "1203"]


def test_nonsense_is_refused(driven: DrivenQueue) -> None:
    assert driven.call("trim_broadcast", max_messages=0)[0] == b"bad_argument"
