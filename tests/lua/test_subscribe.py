"""subscribe: a subscription begins where it is asked to, once, and its workers are seen."""

from __future__ import annotations

from tests.lua.driven_broadcast import DrivenBroadcast
from tests.lua.driven_queue import DrivenQueue


def test_a_subscription_begins_at_the_given_entry_and_only_once(driven: DrivenQueue) -> None:
    broadcast = DrivenBroadcast(driven)
    driven.add("a")
    assert broadcast.subscribe("late", "$") == [b"ok"]
    driven.add("b")
    assert len(broadcast.read("s1")) == 2
    assert len(broadcast.read("late")) == 1
    # It exists by now: it does not begin anew.
    assert broadcast.subscribe("late", "0-0") == [b"ok"]
    assert broadcast.read("late") == []


def test_its_worker_is_registered_for_a_while(driven: DrivenQueue) -> None:
    DrivenBroadcast(driven)
    assert 0 < driven.client.pttl(driven.key("w:w")) <= 30_000
    assert driven.members("x-py:workers") == {"w": driven.now + 30_000}


def test_what_is_no_entry_id_is_refused(driven: DrivenQueue) -> None:
    status, text = DrivenBroadcast(driven).subscribe("s3", "yesterday")
    assert status == b"refused" and b"Invalid stream ID" in text
