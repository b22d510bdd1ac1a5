"""gmq_settle_replay: a replay that has come to its end is remembered for a while."""

from __future__ import annotations

from tests.lua.dead_letters import PATIENCE_MS, replay
from tests.lua.driven_queue import DrivenQueue


def test_replay_makes_one_job_however_often_it_is_asked_for(driven: DrivenQueue) -> None:
    assert replay(driven, name="greet", data='{"a":1}') == [b"ok", b"1"]
    assert replay(driven) == [b"ok", b"1"]
    assert replay(driven, "dead:2:5") == [b"ok", b"2"]
    assert driven.entries() == ["1", "2"]
    assert driven.job("1")["data"] == '{"a":1}'
    mark = driven.key("x-py:replay:dead:1:5")
    assert driven.client.pttl(mark) > 29 * 86_400_000
    assert driven.call("settle_replay", letter="dead:1:5") == [b"ok"]
    assert driven.client.pttl(mark) <= 5 * PATIENCE_MS
    assert replay(driven) == [b"ok", b"1"]
