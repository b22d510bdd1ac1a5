"""Say that a replayed dead letter was removed."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class SettleReplayCommand(Command[None]):
    """The server need not remember the replay of this letter for longer than a repeat under way may take."""

    function = "gmq_settle_replay"
    replayable = True

    __slots__ = ("letter",)

    def __init__(self, queue_key: str, *, letter: str) -> None:
        super().__init__(queue_key)
        self.letter = letter

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "letter": self.letter})

    def parse_reply(self, reply: list[Any]) -> None:
        expect_ok(self.function, reply)
