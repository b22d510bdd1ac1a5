"""How actors are spread over cells."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.config import RuntimeConfig
from glidemq.errors import ConfigurationError
from glidemq.process_spec import Crew
from glidemq_supervisor.cell_plan import CellPlan, plan_cells

ONE_NODE = [frozenset(range(4))]
TWO_NODES = [frozenset({0, 1}), frozenset({2, 3})]
SYNC = [Crew("default", "sync")]
BOTH = [*SYNC, Crew("default", "async")]
FAST, SLOW = Crew("fast", "sync"), Crew("slow", "sync")


def plan(
    procs: int, crews: list[Crew] = SYNC, nodes: list[frozenset[int]] = ONE_NODE, **settings: Any
) -> list[CellPlan]:
    return plan_of(dict.fromkeys(crews, procs), nodes, **settings)


def plan_of(
    sizes: dict[Crew, int], nodes: list[frozenset[int]] = ONE_NODE, **settings: Any
) -> list[CellPlan]:
    config = RuntimeConfig(url="valkey://127.0.0.1:9", environ={}, **settings)
    return plan_cells(config, sizes, nodes)


def shape(plans: list[CellPlan]) -> list[tuple[int, int]]:
    return [(sum(cell.at_start.values()), len(cell.slots)) for cell in plans]


def test_default_is_one_cell_with_as_many_slots_again_in_reserve() -> None:
    assert shape(plan(4)) == [(4, 8)]


def test_default_is_a_cell_per_numa_node() -> None:
    plans = plan(5, nodes=TWO_NODES)
    assert shape(plans) == [(3, 5), (2, 5)]
    assert [cell.cores.cpus for cell in plans] == TWO_NODES


def test_there_are_never_more_cells_than_actors() -> None:
    assert shape(plan(1, nodes=TWO_NODES)) == [(1, 2)]


def test_each_role_has_slots_of_its_own() -> None:
    (cell,) = plan(2, BOTH, max_procs=3)
    assert [address.role for address in cell.slots] == ["sync"] * 3 + ["async"] * 3
    assert [address.index for address in cell.slots] == [0, 1, 2, 3, 4, 5]


def test_cell_per_core_has_one_actor_each_and_no_reserve() -> None:
    assert shape(plan(3, cells="per-core")) == [(1, 1)] * 3
    assert shape(plan(3, BOTH, cells="per-core")) == [(2, 2)] * 3


def test_auto_adds_cells_when_one_gateway_could_not_serve_all() -> None:
    assert shape(plan(96)) == [(32, 32)] * 3
    assert len(plan(96, BOTH)) == 6


def test_reserve_is_cut_to_what_a_gateway_can_serve() -> None:
    assert shape(plan(20)) == [(20, 32)]


def test_reserve_below_the_start_is_raised_to_it() -> None:
    assert shape(plan(4, max_procs=2)) == [(4, 4)]


def test_too_many_actors_for_the_cells_asked_for_are_refused_with_a_number_that_works() -> None:
    with pytest.raises(ConfigurationError, match=r"96 actor processes in 2 cells .* use --cells 3 or more"):
        plan(96, cells=2)
    assert len(plan(96, cells=3)) == 3


def test_more_cells_than_actors_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"--cells 3 .*--procs is 2"):
        plan(2, cells=3)


def test_crews_are_sized_apart() -> None:
    (cell,) = plan_of({FAST: 3, SLOW: 1})
    assert cell.at_start == {FAST: 3, SLOW: 1}
    assert [address.crew for address in cell.slots] == [FAST] * 6 + [SLOW] * 2


def test_remainders_of_small_crews_go_round_the_cells() -> None:
    plans = plan_of({FAST: 1, SLOW: 1, BOTH[0]: 2}, TWO_NODES, cells=2)
    assert [cell.at_start for cell in plans] == [
        {FAST: 1, SLOW: 0, BOTH[0]: 1},
        {FAST: 0, SLOW: 1, BOTH[0]: 1},
    ]


def test_many_crews_need_as_many_cells_as_their_sum() -> None:
    crews = {Crew(f"pool-{number}", "sync"): 8 for number in range(9)}
    assert [sum(cell.at_start.values()) for cell in plan_of(crews)] == [24, 24, 24]
    with pytest.raises(ConfigurationError, match=r"72 actor processes in 2 cells .* use --cells 3 or more"):
        plan_of(crews, cells=2)
