"""Report running jobs that wait for their children."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import packed_call
from glidemq.commands.status import expect_ok


class WaitRow:
    """One job that stops until its children have ended."""

    @staticmethod
    def pack(job_id: str, token: bytes, processed_on: int, entry_id: bytes) -> bytes:
        """The row's msgpack."""
        return pack((job_id, token, processed_on, entry_id))


class WaitResult(NamedTuple):
    """One code per row: 1 it waits or will run again, 6 failed, 2, 3 and 4 as for completions."""

    now_ms: int
    outcomes: list[int]


class MoveToWaitingChildrenCommand(Command[WaitResult]):
    """Stops running jobs until all their children have ended; they run again then. No attempt is charged."""

    function = "gmq_move_to_waiting_children"
    replayable = True  # each move counts once, by its token

    __slots__ = ("rows",)

    def __init__(self, queue_key: str, *, rows: Sequence[bytes]) -> None:
        super().__init__(queue_key)
        self.rows = rows

    def arguments(self) -> bytes:
        return packed_call({}, "rows", self.rows)

    def parse_reply(self, reply: list[Any]) -> WaitResult:
        expect_ok(self.function, reply)
        return WaitResult(reply[1], reply[2])
