"""Let jobs that have ended tell their parents once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok

# Row codes.
TOLD: Final = 1
ALIVE: Final = 2
MISSING: Final = 3


class TellResult(NamedTuple):
    """One code per row. posted: another queue must hear of it, see `ReadOutboxCommand`."""

    codes: list[int]
    posted: bool


class TellAgainCommand(Command[TellResult]):
    """Has jobs of one queue tell a parent how they have ended, if they have.

    rows: (job id, what the parent's queue's keys start with, parent id) each.
    """

    function = "gmq_tell_again"
    replayable = True  # hearing something twice changes nothing

    __slots__ = ("rows",)

    def __init__(self, queue_key: str, *, rows: Sequence[tuple[str, str, str]]) -> None:
        super().__init__(queue_key)
        self.rows = rows

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "rows": list(self.rows)})

    def parse_reply(self, reply: list[Any]) -> TellResult:
        expect_ok(self.function, reply)
        return TellResult(reply[1], bool(reply[2]))
