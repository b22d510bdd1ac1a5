"""Ask whether a queue is paused."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok


class IsPausedCommand(Command[bool]):
    """Whether the queue's pause flag is set."""

    function = "gmq_is_paused"
    replayable = True

    __slots__ = ()

    def arguments(self) -> bytes:
        return pack({"v": 1})

    def parse_reply(self, reply: list[Any]) -> bool:
        expect_ok(self.function, reply)
        return bool(reply[1])
