"""gmq_take_dead_letters: whose turn it is, and how much is read."""

from __future__ import annotations

import json

from tests.lua.dead_letters import configure, fail_one, take
from tests.lua.driven_queue import DrivenQueue


def test_one_carrier_at_a_time_and_another_after_its_lease(driven: DrivenQueue) -> None:
    configure(driven)
    fail_one(driven)
    assert take(driven, lease_ms=60_000)[0] == b"ok"
    busy, left_ms = take(driven, "c2")
    assert busy == b"busy" and 0 < left_ms <= 60_000
    driven.client.delete(driven.key("x-py:dead-letters:carrier"))  # it has expired
    assert take(driven, "c2")[0] == b"ok"


def test_page_is_bounded_by_number_and_bytes(driven: DrivenQueue) -> None:
    configure(driven)
    driven.enqueue(*[driven.row(data=json.dumps("x" * 400_000))] * 5)
    driven.fail(*driven.start(5, max_bytes=1 << 30))
    assert len(take(driven)[3]) == 2
    assert len(take(driven, limit=1)[3]) == 1
