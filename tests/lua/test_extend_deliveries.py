"""extend_deliveries: a run that is heard of is not stale, and hears whether it is still wanted."""

from __future__ import annotations

from tests.lua.driven_broadcast import DrivenBroadcast
from tests.lua.driven_queue import DrivenQueue, Started


def extend(driven: DrivenQueue, *runs: Started) -> list[int]:
    rows = [[run.id, run.token, run.entry_id] for run in runs]
    reply = driven.call("extend_deliveries", consumer="w", subscription="s1", rows=rows)
    codes: list[int] = reply[1]
    return codes


def test_an_extended_delivery_is_not_idle(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    (run,) = broadcast.start_all()
    driven.client.xclaim(driven.key("stream"), "s1", "w", 0, [run.entry_id], idle=60_000, justid=True)
    driven.pass_time(5000)
    assert extend(driven, run) == [1]
    assert broadcast.take([], stale_ms=30_000, consumer="other").started == []
    assert driven.field("1", "lastActive") == str(driven.now)


def test_it_hears_of_a_revocation_and_of_its_end(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    (run,) = broadcast.start_all()
    driven.client.hset(driven.key("job:1"), "revoked", "1")
    assert extend(driven, run) == [7]
    broadcast.complete(run)
    assert extend(driven, run) == [4]
    driven.client.delete(driven.key("job:1"))
    assert extend(driven, run) == [3]
    assert driven.client.exists(driven.key("job:1")) == 0


def test_nonsense_is_refused(driven: DrivenQueue) -> None:
    reply = driven.call("extend_deliveries", consumer="w", subscription="s1", rows=[["1"]])
    assert reply[0] == b"bad_argument"
