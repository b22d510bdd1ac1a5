"""Flows whose jobs belong to ordering groups: a parent takes its place when it is ready, and holds nobody up before."""

from __future__ import annotations

import pytest

from glidemq.options.ordering import GroupOnWire
from tests.lua.driven_queue import DrivenQueue
from tests.lua.families import add_flow, leaf, member, parent_row
from tests.lua.grouped_queue import GroupedQueue


def group_of(concurrency: int) -> GroupOnWire:
    return GroupOnWire("k", concurrency, 0, 0, 0, 0)


@pytest.fixture(params=[1, 5])
def group(request: pytest.FixtureRequest) -> GroupOnWire:
    """The settings of the one group."""
    return group_of(request.param)


def add_in_two_calls(queue: DrivenQueue, group: GroupOnWire, **options: str) -> None:
    """Parents first, as flows are written that do not fit one call."""
    parent = parent_row("p", member(queue, "c"), group=group)
    assert add_flow(queue, parent) == [b"ok"]
    assert add_flow(queue, leaf("c", (queue, "p"), group=group, on_failure=options.get("policy"))) == [b"ok"]


def test_a_child_of_the_group_of_its_parent_runs_before_it(grouped: GroupedQueue, group: GroupOnWire) -> None:
    add_in_two_calls(grouped, group)
    child = grouped.start_one()
    assert child.id == "c"
    grouped.complete(child)
    parent = grouped.start_one()
    assert parent.id == "p"
    grouped.complete(parent)
    assert grouped.client.hget(grouped.key("group:k"), "active") == b"0"


def test_others_of_the_group_go_on_while_a_parent_waits(grouped: GroupedQueue, group: GroupOnWire) -> None:
    add_flow(grouped, leaf("c", (grouped, "p")), parent_row("p", member(grouped, "c"), group=group))
    add_flow(grouped, leaf("later", group=group))
    child, later = grouped.start(2)
    assert (child.id, later.id) == ("c", "later")
    grouped.complete(child)
    if group.concurrency == 1:
        assert grouped.step(1).started == [], "the other one runs"
    grouped.complete(later)
    assert grouped.start_one().id == "p"


def test_a_parent_keeps_the_place_that_it_took_when_it_was_ready(grouped: GroupedQueue) -> None:
    add_in_two_calls(grouped, group_of(1))
    grouped.complete(grouped.start_one())
    add_flow(grouped, leaf("later", group=group_of(1)))
    parent = grouped.start_one()
    assert parent.id == "p"
    grouped.fail(parent, max_attempts=2, delay=1_000)
    assert grouped.step(1).started == [], "its next attempt comes before"
    grouped.pass_time(1_000)
    assert grouped.start_one().id == "p"


@pytest.mark.parametrize("how", ["fail", "revoke", "remove"])
def test_a_parent_that_never_was_ready_holds_nobody_up(
    grouped: GroupedQueue, group: GroupOnWire, how: str
) -> None:
    add_in_two_calls(grouped, group)
    if how == "fail":
        grouped.fail(grouped.start_one())
        assert grouped.state("p") == "failed"
    else:
        grouped.call(how, id="p")
        grouped.complete(grouped.start_one())
    add_flow(grouped, leaf("later", group=group))
    later = grouped.start_one()
    assert later.id == "later"
    grouped.complete(later)
    assert grouped.client.hget(grouped.key("group:k"), "active") == b"0"


def test_a_parent_that_failed_of_its_child_takes_a_place_when_it_is_tried_again(
    grouped: GroupedQueue, group: GroupOnWire
) -> None:
    add_in_two_calls(grouped, group)
    grouped.fail(grouped.start_one())
    grouped.call("retry_job", id="p")
    add_flow(grouped, leaf("later", group=group))
    first = grouped.start_one()
    if group.concurrency == 1:
        assert first.id == "p"
        assert grouped.step(1).started == []
    grouped.complete(first)
    assert {first.id, grouped.start_one().id} == {"p", "later"}


def test_settings_of_a_parent_count_from_its_add(grouped: GroupedQueue) -> None:
    add_flow(grouped, *(leaf(job_id, group=group_of(1)) for job_id in "ab"))
    grouped.start_one()
    add_flow(grouped, parent_row("p", member(grouped, "c"), group=group_of(5)))
    assert grouped.start_one().id == "b"
