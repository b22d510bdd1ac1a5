"""Read a parent's books about its children."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_job

# + the child's name: the parent's field that holds what a child returned whose own hash does not last.
KEPT_VALUE = "x-py:depvalue:"


class ChildEntry(NamedTuple):
    """One child: its name, whether it need not be waited for, why it failed if so, whether its value is kept here."""

    member: str
    done: bool
    failed: str | None
    kept: bool


class ChildrenPage(NamedTuple):
    """Some children, in no order, and the command that goes on; None at the end. A child may come twice."""

    children: list[ChildEntry]
    following: GetChildrenCommand | None


class GetChildrenCommand(Command[ChildrenPage | None]):
    """The children of a job; None when the job does not exist."""

    function = "gmq_get_children"
    replayable = True

    __slots__ = ("cursor", "job_id")

    def __init__(self, queue_key: str, *, job_id: str, cursor: str = "0") -> None:
        super().__init__(queue_key)
        self.job_id = job_id
        self.cursor = cursor

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "id": self.job_id, "cursor": self.cursor})

    def parse_reply(self, reply: list[Any]) -> ChildrenPage | None:
        if not expect_job(self.function, reply):
            return None
        children = [
            ChildEntry(member.decode(), done, failed.decode("utf-8", "replace") if failed else None, kept)
            for member, done, failed, kept in reply[1]
        ]
        cursor = reply[2].decode()
        if cursor == "0":
            return ChildrenPage(children, None)
        return ChildrenPage(children, GetChildrenCommand(self.queue_key, job_id=self.job_id, cursor=cursor))
