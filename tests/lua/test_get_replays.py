"""gmq_get_replays: how replayed jobs end."""

from __future__ import annotations

from tests.lua.dead_letters import replay
from tests.lua.driven_queue import DrivenQueue, Started


def counts(driven: DrivenQueue) -> list[int]:
    status, now, replays, _, _ = driven.call("get_replays")
    assert (status, now) == (b"ok", driven.now)
    made: list[int] = replays
    return made


def test_ends_of_replayed_jobs_are_counted_even_of_those_removed_at_once(driven: DrivenQueue) -> None:
    driven.add()
    for number in range(5):
        replay(driven, f"l{number}")
    started: list[Started] = driven.start(6)
    assert counts(driven) == [5, 0, 0, 5]
    driven.complete(*started[:2])
    driven.complete(started[2], retain=True)
    driven.fail(started[3], max_attempts=2, delay=1000)
    assert counts(driven) == [5, 2, 0, 3]
    driven.fail(started[4], retain=True)
    assert counts(driven) == [5, 2, 1, 2]
    driven.pass_time(1000)
    driven.complete(driven.start_one(), started[5])
    assert counts(driven) == [5, 4, 1, 0]
