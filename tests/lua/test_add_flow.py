"""add_flow: a parent waits for its children from the start; all jobs of a call are added, or none."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.command import unpack
from tests.lua.driven_queue import DrivenQueue
from tests.lua.families import add_flow, leaf, member, parent_row


def test_a_tree_is_stored_as_node_stores_it(driven: DrivenQueue) -> None:
    names = [member(driven, child) for child in ("2", "3")]
    rows = [leaf("2", (driven, "1")), leaf("3", (driven, "1")), parent_row("1", *names)]
    assert add_flow(driven, *rows) == [b"ok"]
    assert driven.job("1") == {
        "id": "1", "name": "parent", "data": "{}", "opts": "{}", "timestamp": str(driven.now), "attemptsMade": "0",
        "delay": "0", "priority": "0", "maxAttempts": "0", "state": "waiting-children",
    }  # fmt: skip
    assert (driven.field("2", "parentId"), driven.field("2", "parentQueue")) == ("1", driven.name)
    assert {name.decode() for name in driven.client.smembers(driven.key("deps:1"))} == set(names)
    assert driven.entries() == ["2", "3"]
    assert [event["jobId"] for event in driven.events()] == ["2", "3", "1"]


def test_the_parent_runs_after_its_last_child(driven: DrivenQueue) -> None:
    add_flow(
        driven,
        leaf("a", (driven, "p")),
        leaf("b", (driven, "p")),
        parent_row("p", member(driven, "a"), member(driven, "b")),
    )
    first, second = driven.start(2)
    driven.complete(first)
    assert driven.step(1).ids == []
    driven.complete(second)
    assert driven.start_one().id == "p"


def test_a_dag_s_parents_are_stored_as_node_stores_them(driven: DrivenQueue) -> None:
    names = [member(driven, job) for job in ("2", "3")]
    family = {"parents": names, "parent_ids": b'["2","3"]', "parent_queues": b'["q","q"]'}
    row = parent_row("4", member(driven, "5"), family=family)
    add_flow(driven, leaf("5", (driven, "4")), row)
    assert (driven.field("4", "parentIds"), driven.field("4", "parentQueues")) == ('["2","3"]', '["q","q"]')
    assert {name.decode() for name in driven.client.smembers(driven.key("parents:4"))} == set(names)


def test_waiting_parents_are_looked_after_until_they_run(driven: DrivenQueue) -> None:
    add_flow(driven, leaf("a", (driven, "p")), parent_row("p", member(driven, "a")))
    assert driven.members("x-py:parents") == {"p": driven.now + 30_000}
    driven.complete(driven.start_one())
    assert driven.members("x-py:parents") == {}


@pytest.mark.parametrize("ids", [("a", "taken"), ("a", "a")])
def test_a_taken_id_keeps_the_whole_flow_out(driven: DrivenQueue, ids: tuple[str, str]) -> None:
    driven.add(job_id="taken")
    before = driven.snapshot()
    assert add_flow(driven, *map(leaf, ids)) == [b"duplicate", ids[1].encode()]
    assert driven.snapshot() == before


def test_a_cost_that_no_bucket_holds_keeps_the_whole_flow_out(driven: DrivenQueue) -> None:
    dear = {"key": "k", "tb_capacity": 1000, "tb_refill": 1}
    row = unpack(leaf("b"))
    row[11] = {b"ordering": dear, b"cost": 5000}
    before = driven.snapshot()
    assert driven.call("add_flow", jobs=[unpack(leaf("a")), row]) == [b"cost_exceeds_capacity", 2]
    assert driven.snapshot() == before


def test_a_repeated_call_adds_nothing_and_gets_the_same_reply(driven: DrivenQueue) -> None:
    assert add_flow(driven, leaf("a"), call_id="once") == [b"ok"]
    before = driven.snapshot()
    assert add_flow(driven, leaf("a"), call_id="once") == [b"ok"]
    assert driven.snapshot() == before
    assert add_flow(driven, leaf("a"), call_id="another") == [b"duplicate", b"a"]


def test_delayed_and_prioritized_children_wait_where_their_kind_does(driven: DrivenQueue) -> None:
    rows = [
        leaf("d", (driven, "p"), delay_ms=50),
        leaf("u", (driven, "p"), priority=3),
        leaf("l", (driven, "p"), lifo=True),
    ]
    add_flow(driven, *rows, parent_row("p", *[member(driven, child) for child in "dul"]))
    assert [driven.state(child) for child in "dul"] == ["delayed", "prioritized", "waiting"]
    assert driven.elements("lifo") == ["l"]
    assert driven.rings() == 1
    driven.complete(*driven.start(2))
    driven.pass_time(50)
    driven.complete(driven.start_one())
    assert driven.start_one().id == "p"


NONSENSE: list[dict[str, Any]] = [
    {"children": []},
    {"children": ["nonsense"]},
    {"parents": ["[]", "[]", []]},
    {"friends": ["x"]},
]


@pytest.mark.parametrize("extra", NONSENSE)
def test_nonsense_is_refused_before_anything_is_added(driven: DrivenQueue, extra: dict[str, object]) -> None:
    row = unpack(leaf("b"))
    row[11] = extra
    before = driven.snapshot()
    assert driven.call("add_flow", jobs=[unpack(leaf("a")), row])[0] == b"bad_argument"
    assert driven.snapshot() == before
