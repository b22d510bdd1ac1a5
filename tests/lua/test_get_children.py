"""get_children: what a parent's books say of its children, in pages."""

from __future__ import annotations

from glidemq.commands.get_children import ChildEntry, GetChildrenCommand
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute, execute_all
from tests.lua.families import add_flow, add_parent, leaf, member, parent_row


def test_books_tell_who_is_done_who_failed_and_whose_value_is_kept(driven: DrivenQueue) -> None:
    add_parent(driven, "p", "a", "b", "c", on_failure="ignore")
    first, second = driven.start(2)
    driven.complete(first, value="1", retain=True)
    driven.fail(second, reason="boom")
    page = execute(driven, GetChildrenCommand(driven.key("meta"), job_id="p"))
    assert page is not None and page.following is None
    assert sorted(page.children) == [
        ChildEntry(member(driven, "a"), True, None, True),
        ChildEntry(member(driven, "b"), True, "boom", False),
        ChildEntry(member(driven, "c"), False, None, False),
    ]


def test_a_job_without_children_has_none_and_no_job_is_none(driven: DrivenQueue) -> None:
    driven.add()
    page = execute(driven, GetChildrenCommand(driven.key("meta"), job_id="1"))
    assert page == ([], None)
    assert execute(driven, GetChildrenCommand(driven.key("meta"), job_id="2")) is None


def test_many_children_come_in_several_pages(driven: DrivenQueue) -> None:
    names = [f"c{number}" for number in range(2000)]
    add_flow(driven, parent_row("p", *[member(driven, name) for name in names]), leaf("c0"))
    pages = execute_all(driven, GetChildrenCommand(driven.key("meta"), job_id="p"))
    assert len(pages) > 2
    assert max(len(page.children) for page in pages) < 1000
    assert {child.member for page in pages for child in page.children} == {
        member(driven, name) for name in names
    }
