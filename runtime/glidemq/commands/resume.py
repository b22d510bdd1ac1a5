"""End a queue's pause."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok


class ResumeCommand(Command[None]):
    """Clears the pause flag and wakes the workers."""

    function = "gmq_resume"
    replayable = True  # a repetition only repeats the event

    __slots__ = ()

    def arguments(self) -> bytes:
        return pack({"v": 1})

    def parse_reply(self, reply: list[Any]) -> None:
        expect_ok(self.function, reply)
