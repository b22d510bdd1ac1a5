"""Read the schedulers of a queue, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


@dataclass(frozen=True, slots=True)
class SchedulersPage:
    """Names and entries as stored, and the command that reads the next ones; None at the end."""

    entries: list[tuple[bytes, bytes]]
    following: ListSchedulersCommand | None


class ListSchedulersCommand(Command[SchedulersPage]):
    """A page of the schedulers, in no order. One that is changed meanwhile may come twice."""

    function = "gmq_list_schedulers"
    replayable = True

    __slots__ = ("cursor",)

    def __init__(self, queue_key: str, *, cursor: str = "") -> None:
        super().__init__(queue_key)
        self.cursor = cursor

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "cursor": self.cursor})

    def parse_reply(self, reply: list[Any]) -> SchedulersPage:
        expect_ok(self.function, reply)
        flat, cursor = reply[1], reply[2].decode()
        following = ListSchedulersCommand(self.queue_key, cursor=cursor) if cursor else None
        return SchedulersPage(list(zip(flat[::2], flat[1::2], strict=True)), following)
