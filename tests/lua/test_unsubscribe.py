"""unsubscribe: a worker leaves nothing behind but its subscription, and what it has not done goes to others."""

from __future__ import annotations

from tests.lua.driven_broadcast import DrivenBroadcast
from tests.lua.driven_queue import DrivenQueue


def test_a_worker_without_pending_messages_leaves_no_trace_and_the_subscription_stays(
    driven: DrivenQueue,
) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    broadcast.complete(*broadcast.start_all())
    assert driven.call("unsubscribe", consumer="w", subscription="s1", left=[]) == [b"ok"]
    stream = driven.key("stream")
    assert driven.client.xinfo_consumers(stream, "s1") == []
    assert not driven.client.exists(driven.key("w:w"))
    assert {group["name"] for group in driven.client.xinfo_groups(stream)} == {b"s1", b"s2"}


def test_what_it_leaves_undone_is_taken_over_at_once_and_uncharged(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    driven.add("b")
    (running,) = broadcast.take(broadcast.read(count=1)).started
    (unstarted,) = broadcast.read()
    left = [[running.id, running.entry_id], [False, unstarted]]
    driven.call("unsubscribe", consumer="w", subscription="s1", left=left)
    taken = broadcast.take([], consumer="other", stale_ms=30_000)
    assert [run.id for run in taken.started] == ["1", "2"]
    assert taken.recovered == []
    assert broadcast.complete(running) == [4]


def test_nonsense_is_refused(driven: DrivenQueue) -> None:
    reply = driven.call("unsubscribe", consumer="w", subscription="s1", left=[[1, 2]])
    assert reply[0] == b"bad_argument"
