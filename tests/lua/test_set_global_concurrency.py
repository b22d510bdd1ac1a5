"""set_global_concurrency: the setting that step honours, under the name that Node reads."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.set_global_concurrency import SetGlobalConcurrencyCommand
from glidemq.errors import ValidationError
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute


def limit(driven: DrivenQueue, concurrency: int) -> None:
    execute(driven, SetGlobalConcurrencyCommand(driven.key("meta"), concurrency=concurrency))


def test_limit_is_stored_as_node_stores_it_and_counts_from_the_next_step(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row() for _ in range(5)])
    limit(driven, 2)
    assert driven.client.hgetall(driven.key("meta")) == {b"globalConcurrency": b"2"}
    assert len(driven.step(5).ids) == 2
    limit(driven, 3)
    assert len(driven.step(5).ids) == 1


def test_zero_removes_the_limit_and_wakes_a_reader(driven: DrivenQueue) -> None:
    limit(driven, 1)
    driven.enqueue(*[driven.row() for _ in range(3)])
    driven.step(5)
    rings = driven.rings()
    limit(driven, 0)
    assert driven.client.hexists(driven.key("meta"), "globalConcurrency") is False
    assert driven.rings() == rings + 1
    assert len(driven.step(5).ids) == 2


@pytest.mark.parametrize("concurrency", [-1, 1.5, True, "3"])
def test_anything_but_a_non_negative_integer_is_refused(driven: DrivenQueue, concurrency: Any) -> None:
    with pytest.raises(ValidationError, match="concurrency must be a non-negative integer"):
        SetGlobalConcurrencyCommand("k", concurrency=concurrency)
    assert driven.call("set_global_concurrency", concurrency=concurrency)[0] == b"bad_argument"
    assert driven.suffixes() == []
