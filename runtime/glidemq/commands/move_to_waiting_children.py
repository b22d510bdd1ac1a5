"""Report running jobs that wait for their children."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import pack
from glidemq.commands.rows_command import RowsCommand
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


class MoveToWaitingChildrenCommand(RowsCommand[WaitResult]):
    """Stops running jobs until all their children have ended; they run again then. No attempt is charged."""

    function = "gmq_move_to_waiting_children"
    replayable = True  # each move counts once, by its token

    __slots__ = ()

    def parse_reply(self, reply: list[Any]) -> WaitResult:
        expect_ok(self.function, reply)
        return WaitResult(reply[1], reply[2])
