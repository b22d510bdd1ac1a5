"""hear_children: parents in another queue, so perhaps another slot, hear of their children, once or more often."""

from __future__ import annotations

import pytest

from glidemq.commands.command import unpack
from glidemq.commands.hear_children import ChildNews, HearChildrenCommand
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.families import add_flow, carry, leaf, letters, member, parent_row


@pytest.fixture
def children(driven: DrivenQueue, call: Call) -> DrivenQueue:
    """The queue of the children; `driven` holds their parents."""
    return DrivenQueue(driven.client, driven.name + "-children", call)


def add_apart(driven: DrivenQueue, children: DrivenQueue, *ids: str, on_failure: str | None = None) -> None:
    assert add_flow(driven, parent_row("p", *[member(children, child) for child in ids])) == [b"ok"]
    rows = [leaf(child, (driven, "p"), on_failure=on_failure) for child in ids]
    assert add_flow(children, *rows) == [b"ok"]


def test_a_child_s_completion_waits_in_the_outbox_until_it_is_heard(
    driven: DrivenQueue, children: DrivenQueue
) -> None:
    add_apart(driven, children, "a", "b")
    first, second = children.start(2)
    assert children.step(complete=[children.completion(first)]).posted == 1
    [letter] = letters(children)
    assert letter[1:3] == [b"child", driven.key("").removesuffix(":").encode()]
    assert unpack(letter[3]) == [b"p", member(children, "a").encode(), b"completed", False]
    assert driven.state("p") == "waiting-children"
    assert carry(children, driven) == 1
    assert driven.field("p", "depsCompleted") == "1"
    children.complete(second)
    carry(children, driven)
    assert driven.start_one().id == "p"
    assert letters(children) == []
    assert not children.client.exists(children.key("x-py:outbox"))
    assert driven.events_of("p") == ["added", "active"]


def test_news_carried_twice_changes_nothing_more(driven: DrivenQueue, children: DrivenQueue) -> None:
    add_apart(driven, children, "a", "b", on_failure="ignore")
    first, second = children.start(2)
    children.complete(first)
    children.fail(second)
    assert carry(children, driven, clear=False) == 2
    before = driven.snapshot()
    assert carry(children, driven, clear=False) == 2
    assert driven.snapshot() == before
    parent = driven.start_one()
    carry(children, driven)
    assert driven.state("p") == "active"
    assert driven.complete(parent) == [1]


def test_a_child_of_an_earlier_parent_of_that_id_changes_nothing(
    driven: DrivenQueue, children: DrivenQueue
) -> None:
    add_apart(driven, children, "a")
    old = children.start_one()
    driven.call("remove", id="p")
    add_apart(driven, children, "b", "c")
    children.complete(old)
    children.complete(children.start_one())
    carry(children, driven)
    assert driven.state("p") == "waiting-children"
    assert driven.field("p", "depsCompleted") == "1"
    children.complete(children.start_one())
    carry(children, driven)
    assert driven.start_one().id == "p"


@pytest.mark.parametrize(
    ("policy", "state"),
    [(None, "failed"), ("ignore", "waiting"), ("remove", "waiting"), ("continue", "waiting")],
)
def test_each_policy_reaches_a_parent_elsewhere(
    driven: DrivenQueue, children: DrivenQueue, policy: str | None, state: str
) -> None:
    add_apart(driven, children, "a", on_failure=policy)
    job = children.start_one()
    reply = children.call("fail", rows=[[*job.fence, job.entry_id, "boom", 0, 0, False]])
    assert reply[4] == 1, "the failure must be heard elsewhere"
    carry(children, driven)
    assert driven.state("p") == state


def test_a_parent_that_fails_tells_its_own_parent_in_yet_another_queue(
    driven: DrivenQueue, children: DrivenQueue, call: Call
) -> None:
    roots = DrivenQueue(driven.client, driven.name + "-roots", call)
    add_flow(roots, parent_row("root", member(driven, "p")))
    add_flow(driven, parent_row("p", member(children, "a"), parent=(roots, "root")))
    add_flow(children, leaf("a", (driven, "p")))
    children.fail(children.start_one())
    rows = [ChildNews.pack("p", member(children, "a"), "fail_parent", "boom")]
    assert execute(driven, HearChildrenCommand(driven.key("meta"), rows=rows)) is True
    assert carry(driven, roots) == 1
    assert roots.state("root") == "failed"


def test_a_value_that_does_not_last_travels_along(driven: DrivenQueue, children: DrivenQueue) -> None:
    add_apart(driven, children, "a")
    children.complete(children.start_one(), value="[1]", retain=True)
    carry(children, driven)
    assert driven.field("p", f"x-py:depvalue:{member(children, 'a')}") == "[1]"


def test_dependents_in_several_queues_all_hear(driven: DrivenQueue, children: DrivenQueue) -> None:
    """Node wakes only those in the child's own queue."""
    name = member(children, "a")
    add_flow(driven, parent_row("p", name))
    family = {
        "parents": [member(driven, "p"), member(children, "q")],
        "parent_ids": b'["p","q"]',
        "parent_queues": b"[]",
    }
    shared = parent_row("a", member(children, "deeper"), family=family)
    add_flow(children, leaf("deeper", (children, "a")), shared, parent_row("q", name))
    children.complete(children.start_one())
    children.complete(children.start_one())
    assert children.state("q") == "waiting"
    assert carry(children, driven) == 1
    assert driven.state("p") == "waiting"


def test_a_parent_that_node_made_is_woken(driven: DrivenQueue, children: DrivenQueue) -> None:
    driven.hash("p", state="waiting-children")
    driven.client.sadd(driven.key("deps:p"), member(children, "1"))
    children.add(parent="p", parent_queue=driven.name)
    children.complete(children.start_one())
    carry(children, driven)
    assert driven.field("p", f"depdone:{member(children, '1')}") == "1"
    assert driven.start_one().id == "p"


def test_news_of_an_unknown_kind_is_refused_before_anything_is_heard(driven: DrivenQueue) -> None:
    driven.hash("p", state="waiting-children")
    driven.client.sadd(driven.key("deps:p"), "glide:{x}:1")
    before = driven.snapshot()
    good = ["p", "glide:{x}:1", "completed", False]
    status, fault = driven.call("hear_children", rows=[good, ["p", "glide:{x}:1", "exploded", "r"]])
    assert (status, fault) == (b"bad_argument", b"row 2: nobody knows what exploded means")
    status, fault = driven.call("hear_children", rows=[good, ["p", "glide:{x}:1", "ignore", False]])
    assert (status, fault) == (b"bad_argument", b"row 2: the reason is missing")
    assert driven.snapshot() == before


def test_a_key_of_another_type_is_no_parent(driven: DrivenQueue) -> None:
    driven.client.set(driven.key("job:p"), "text")
    assert driven.call("hear_children", rows=[["p", "glide:{x}:1", "completed", False]]) == [b"ok", 0]
