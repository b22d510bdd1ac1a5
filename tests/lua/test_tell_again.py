"""tell_again: ends that nobody told are told to the parent that still waits, by whatever runtime they came about."""

from __future__ import annotations

import pytest

from glidemq.commands.tell_again import ALIVE, MISSING, TOLD, TellAgainCommand, TellResult
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.families import add_flow, carry, leaf, member, opts_of, parent_row


def tell(queue: DrivenQueue, parents: DrivenQueue, *ids: str) -> TellResult:
    base = parents.key("").removesuffix(":")
    return execute(queue, TellAgainCommand(queue.key("meta"), rows=[(job_id, base, "p") for job_id in ids]))


def end_as_node(queue: DrivenQueue, job_id: str, state: str, **fields: str) -> None:
    """A Node worker ends a job without a word to anybody."""
    queue.client.hset(queue.key(f"job:{job_id}"), mapping={"state": state, **fields})


@pytest.mark.parametrize(
    ("policy", "state"), [(None, "failed"), ("ignore", "waiting"), ("remove", "waiting")]
)
def test_a_child_that_node_failed_does_to_its_parent_what_its_options_say(
    driven: DrivenQueue, policy: str | None, state: str
) -> None:
    driven.hash("c", opts=opts_of(policy))
    add_flow(driven, parent_row("p", member(driven, "c")))
    end_as_node(driven, "c", "failed", failedReason="boom")
    assert tell(driven, driven, "c") == ([TOLD], False)
    assert driven.state("p") == state
    if state == "failed":
        assert driven.field("p", "failedReason") == f"child {member(driven, 'c')} failed: boom"


def test_a_child_that_node_completed_for_a_parent_elsewhere_wakes_it(driven: DrivenQueue, call: Call) -> None:
    """The edges that no Node worker serves: of a leaf with dependents in other queues."""
    children = DrivenQueue(driven.client, driven.name + "-children", call)
    add_flow(driven, parent_row("p", member(children, "c")))
    children.hash("c")
    end_as_node(children, "c", "completed", returnvalue="1")
    assert tell(children, driven, "c") == ([TOLD], True)
    carry(children, driven)
    assert driven.start_one().id == "p"


def test_those_that_live_and_those_that_are_gone_are_told_apart(driven: DrivenQueue) -> None:
    add_flow(driven, leaf("c", (driven, "p")), parent_row("p", member(driven, "c"), member(driven, "gone")))
    assert tell(driven, driven, "c", "gone") == ([ALIVE, MISSING], False)
    assert driven.state("p") == "waiting-children"


def test_telling_again_what_was_heard_changes_nothing(driven: DrivenQueue) -> None:
    add_flow(
        driven,
        leaf("a", (driven, "p")),
        leaf("b", (driven, "p")),
        parent_row("p", member(driven, "a"), member(driven, "b")),
    )
    driven.complete(driven.start_one())
    before = driven.snapshot()
    assert tell(driven, driven, "a").codes == [TOLD]
    assert driven.snapshot() == before


def test_a_child_that_is_missing_for_a_minute_counts_as_failed(driven: DrivenQueue) -> None:
    add_flow(driven, parent_row("p", member(driven, "gone")))
    news = [["p", member(driven, "gone"), "missing", False]]
    for wait_ms, state in ((0, "waiting-children"), (59_999, "waiting-children"), (1, "failed")):
        driven.pass_time(wait_ms)
        driven.call("hear_children", rows=news)
        assert driven.state("p") == state
    assert driven.field("p", "failedReason") == f"child {member(driven, 'gone')} failed: it cannot be found"


def test_a_missing_child_that_comes_after_all_is_waited_for(driven: DrivenQueue) -> None:
    add_flow(driven, parent_row("p", member(driven, "late")))
    driven.call("hear_children", rows=[["p", member(driven, "late"), "missing", False]])
    add_flow(driven, leaf("late", (driven, "p")))
    driven.complete(driven.start_one())
    assert driven.start_one().id == "p"
