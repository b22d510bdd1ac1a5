"""gmq_replay_dead_letter: one job for each letter."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.dead_letters import PATIENCE_MS, replay
from tests.lua.driven_queue import DrivenQueue


def test_replay_too_late_is_refused(driven: DrivenQueue) -> None:
    assert replay(driven, read_at=driven.now - PATIENCE_MS - 1) == [b"too_late"]
    assert driven.suffixes() == []


def test_replay_with_a_taken_id_is_skipped(driven: DrivenQueue) -> None:
    driven.add(job_id="x")
    assert replay(driven, job_id="x") == [b"skipped"]
    assert not [suffix for suffix in driven.suffixes() if "replay" in suffix]


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ({"extra": {"dedup": {"id": "d", "mode": "simple"}}}, b"bad_argument"),
        ({"extra": {"ordering": {"key": ""}}}, b"bad_argument"),
        ({"lifo": 1, "extra": {"ordering": {"key": "k"}}}, b"bad_argument"),
        ({"delay": "x"}, b"bad_argument"),
        ({"extra": {"ordering": {"key": "k", "tb_capacity": 5, "tb_refill": 1}}}, b"cost_exceeds_capacity"),
    ],
)
def test_bad_replay_is_refused(driven: DrivenQueue, row: dict[str, Any], status: bytes) -> None:
    assert replay(driven, **row)[0] == status
    assert driven.suffixes() == []
