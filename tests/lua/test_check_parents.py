"""check_parents: waiting parents are looked after now and then, each by one host at a time."""

from __future__ import annotations

from glidemq.commands.check_parents import CheckParentsCommand
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.families import add_parent, member

FIRST_LOOK_MS = 30_000


def due(driven: DrivenQueue, limit: int = 100) -> list[str]:
    return execute(driven, CheckParentsCommand(driven.key("meta"), limit=limit))


def test_a_parent_is_looked_after_once_it_has_waited_for_a_while(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a")
    assert due(driven) == []
    driven.pass_time(FIRST_LOOK_MS)
    assert due(driven) == ["p"]
    assert due(driven) == [], "it was named to one host"
    driven.pass_time(FIRST_LOOK_MS)
    assert due(driven) == ["p"]


def test_looks_become_rarer_but_never_stop(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a")
    driven.pass_time(3_600_000)
    assert due(driven) == ["p"]
    assert driven.members("x-py:parents") == {"p": driven.now + 300_000}


def test_parents_that_wait_no_more_are_forgotten(driven: DrivenQueue) -> None:
    for name in ("revoked", "removed"):
        add_parent(driven, name, f"child of {name}")
    driven.call("revoke", id="revoked")
    driven.call("remove", id="removed")
    driven.pass_time(FIRST_LOOK_MS)
    assert due(driven) == []
    assert driven.members("x-py:parents") == {}


def test_a_call_names_as_many_as_it_is_asked_for(driven: DrivenQueue) -> None:
    for number in range(5):
        add_parent(driven, f"p{number}", f"c{number}")
    driven.pass_time(FIRST_LOOK_MS)
    assert len(due(driven, 3)) == 3
    assert len(due(driven, 3)) == 2


def test_a_parent_that_node_made_is_looked_after_from_its_first_news_on(driven: DrivenQueue) -> None:
    driven.hash("p", state="waiting-children")
    driven.client.sadd(driven.key("deps:p"), member(driven, "1"), member(driven, "2"))
    driven.add(parent="p", parent_queue=driven.name)
    driven.complete(driven.start_one())
    assert driven.members("x-py:parents") == {"p": driven.now + FIRST_LOOK_MS}
