"""Stop starting jobs of a queue."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok


class PauseCommand(Command[None]):
    """Sets the pause flag: until `resume`, no worker of this library starts a job; running jobs go on."""

    function = "gmq_pause"
    replayable = True  # a repetition only repeats the event

    __slots__ = ()

    def arguments(self) -> bytes:
        return pack({"v": 1})

    def parse_reply(self, reply: list[Any]) -> None:
        expect_ok(self.function, reply)
