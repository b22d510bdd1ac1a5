"""set_global_rate_limit: the setting that step honours, under the names that Node reads."""

from __future__ import annotations

import pytest

from glidemq.commands.rate_limit import RateLimitOnWire
from glidemq.commands.set_global_rate_limit import SetGlobalRateLimitCommand
from glidemq.errors import ValidationError
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute


def limit(driven: DrivenQueue, rate: RateLimitOnWire | None) -> None:
    execute(driven, SetGlobalRateLimitCommand(driven.key("meta"), limit=rate))


def test_limit_is_stored_as_node_stores_it_and_counts_from_the_next_step(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row() for _ in range(5)])
    limit(driven, RateLimitOnWire(2, 1000))
    stored = driven.client.hgetall(driven.key("meta"))
    assert stored == {b"rateLimitMax": b"2", b"rateLimitDuration": b"1000"}
    assert len(driven.step(5).ids) == 2
    limit(driven, RateLimitOnWire(3, 1000))
    assert len(driven.step(5).ids) == 1


def test_removed_limit_lets_jobs_start_at_once_and_wakes_a_reader(driven: DrivenQueue) -> None:
    limit(driven, RateLimitOnWire(1, 1000))
    driven.enqueue(*[driven.row() for _ in range(3)])
    driven.step(5)
    rings = driven.rings()
    limit(driven, None)
    assert "meta" not in driven.suffixes()
    assert driven.rings() == rings + 1
    assert len(driven.step(5).ids) == 2


@pytest.mark.parametrize(("maximum", "duration_ms"), [(0, 5), (5, 0), (-1, 5), (5, False)])
def test_a_limit_of_nothing_is_refused_on_both_sides(
    driven: DrivenQueue, maximum: int, duration_ms: int
) -> None:
    with pytest.raises(ValidationError, match="a rate limit needs"):
        SetGlobalRateLimitCommand("k", limit=RateLimitOnWire(maximum, duration_ms))
    reply = driven.call("set_global_rate_limit", max=maximum, duration_ms=duration_ms)
    assert reply == [b"bad_argument", b"max and duration_ms must both be above 0"]
    assert driven.suffixes() == []
