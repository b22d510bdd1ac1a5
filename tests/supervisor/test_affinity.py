"""Which cores a cell and its processes get."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from glidemq_supervisor.affinity import CellCores, allocating_on, numa_nodes, parse_cpu_list, share_out


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3\n", {0, 1, 2, 3}), ("0,2-3,8", {0, 2, 3, 8}), ("5", {5}), ("\n", set())],
)
def test_kernel_s_cpu_lists(text: str, cpus: set[int]) -> None:
    assert parse_cpu_list(text) == cpus


def make_nodes(directory: Path, *lists: str) -> Path:
    for number, text in enumerate(lists):
        (directory / f"node{number}").mkdir()
        (directory / f"node{number}" / "cpulist").write_text(text)
    (directory / "possible").write_text("0-1")
    return directory


def test_numa_nodes_are_cut_down_to_the_allowed_cores(tmp_path: Path) -> None:
    directory = make_nodes(tmp_path, "0-3", "4-7", "8-11")
    assert numa_nodes(frozenset({1, 2, 9}), directory) == [{1, 2}, {9}]


def test_machine_that_does_not_tell_its_nodes_has_one(tmp_path: Path) -> None:
    assert numa_nodes(frozenset({0, 1}), tmp_path) == [{0, 1}]


NODES = [frozenset({0, 1, 2, 3}), frozenset({4, 5, 6, 7})]


def test_single_cell_on_a_plain_machine_is_not_restricted() -> None:
    (cores,) = share_out(1, [frozenset({0, 1})])
    assert cores.for_gateway() is None
    assert cores.for_actor(0, pin=False) is None
    assert [cores.for_actor(slot, pin=True) for slot in range(3)] == [
        frozenset({0}),
        frozenset({1}),
        frozenset({0}),
    ]


def test_cell_per_node_keeps_to_its_node() -> None:
    assert [cores.cpus for cores in share_out(2, NODES)] == NODES
    assert all(cores.for_gateway() == cores.cpus for cores in share_out(2, NODES))


def test_one_cell_may_span_the_nodes() -> None:
    (cores,) = share_out(1, NODES)
    assert cores.cpus == frozenset(range(8))
    assert cores.for_gateway() is None


def test_more_cells_than_nodes_split_each_node() -> None:
    split = share_out(4, NODES)
    assert [cores.cpus for cores in split] == [{0, 2}, {4, 6}, {1, 3}, {5, 7}]


def test_more_cells_than_cores_share_cores() -> None:
    shared = share_out(5, [frozenset({0, 1})])
    assert [cores.cpus for cores in shared] == [{0}, {1}, {0}, {1}, {0}]


def test_memory_is_allocated_from_the_cell_s_cores_and_the_affinity_restored() -> None:
    before = os.sched_getaffinity(0)
    one = frozenset({min(before)})
    with allocating_on(CellCores(one, is_part=True)):
        assert os.sched_getaffinity(0) == one
    assert os.sched_getaffinity(0) == before
