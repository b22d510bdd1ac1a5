"""Tell parents how their children in other queues ended."""

from __future__ import annotations

from typing import Any, Final

from glidemq.commands.command import pack
from glidemq.commands.rows_command import RowsCommand
from glidemq.commands.status import expect_ok

# The outbox entries that this command takes.
KIND: Final = b"child"


class ChildNews:
    """One child's end, for one parent."""

    @staticmethod
    def pack(parent_id: str, member: str, what: str, text: bytes | str | None) -> bytes:
        """The row's msgpack. `member` names the child (`glide:{queue}:id`).

        what: "completed", with a return value in `text` if the child's own hash does not last; or "fail_parent",
        "ignore", "remove" or "continue", with the reason; or "missing", when nobody finds the child.
        """
        return pack((parent_id, member, what, False if text is None else text))


class HearChildrenCommand(RowsCommand[bool]):
    """Brings packed news to the parents in one queue. True when yet another queue has to hear of what follows."""

    function = "gmq_hear_children"
    replayable = True  # hearing something twice changes nothing

    __slots__ = ()

    def parse_reply(self, reply: list[Any]) -> bool:
        expect_ok(self.function, reply)
        return bool(reply[1])
