"""reserve_ids: ids that no job has, and will not get by itself; custom ones are looked up and left alone."""

from __future__ import annotations

import pytest

from glidemq.commands.reserve_ids import ReservedIds, ReserveIdsCommand
from glidemq.errors import ServerError
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute


def reserve(driven: DrivenQueue, count: int, *custom: str) -> ReservedIds:
    return execute(driven, ReserveIdsCommand(driven.key("meta"), count=count, custom=custom))


def test_reserved_ids_are_in_order_and_nobody_else_gets_them(driven: DrivenQueue) -> None:
    assert reserve(driven, 3) == (["1", "2", "3"], None)
    assert driven.add() == "4"
    assert reserve(driven, 1).ids == ["5"]


def test_ids_taken_by_custom_ones_are_skipped(driven: DrivenQueue) -> None:
    driven.hash("2")
    driven.hash("4")
    assert reserve(driven, 3).ids == ["1", "3", "5"]
    assert driven.add() == "6"


def test_ids_beyond_what_lua_counts_exactly_are_exact(driven: DrivenQueue) -> None:
    driven.client.set(driven.key("id"), "9007199254740992")
    assert reserve(driven, 2).ids == ["9007199254740993", "9007199254740994"]


def test_a_taken_custom_id_is_named_and_nothing_is_reserved(driven: DrivenQueue) -> None:
    driven.add(job_id="mine")
    assert reserve(driven, 2, "free", "mine") == ([], "mine")
    assert driven.client.get(driven.key("id")) == b"0"
    assert reserve(driven, 1).ids == ["1"]


def test_a_custom_id_given_twice_is_a_duplicate(driven: DrivenQueue) -> None:
    assert reserve(driven, 0, "x", "x").taken == "x"


def test_automatic_ids_stay_clear_of_the_numeric_custom_ones_beside_them(driven: DrivenQueue) -> None:
    assert reserve(driven, 2, "1", "2").ids == ["3", "4"]


def test_more_collisions_than_anybody_has_are_given_up(driven: DrivenQueue) -> None:
    pipeline = driven.client.pipeline()
    for number in range(1, 1010):
        pipeline.hset(driven.key(f"job:{number}"), "id", number)
    pipeline.execute()
    with pytest.raises(ServerError, match="too many collisions with custom job IDs"):
        reserve(driven, 1)


def test_a_counter_that_is_no_number_is_reported(driven: DrivenQueue) -> None:
    driven.client.set(driven.key("id"), "007x")
    assert driven.call("reserve_ids", count=1, custom=[])[0] == b"bad_id_counter"


@pytest.mark.parametrize(
    "arguments", [{"count": -1, "custom": []}, {"count": 1, "custom": [5]}, {"count": 10_001, "custom": []}]
)
def test_nonsense_is_refused(driven: DrivenQueue, arguments: dict[str, object]) -> None:
    assert driven.call("reserve_ids", **arguments)[0] == b"bad_argument"
    assert not driven.client.exists(driven.key("id"))
