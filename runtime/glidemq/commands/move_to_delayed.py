"""Report running jobs that go on later."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import pack
from glidemq.commands.rows_command import RowsCommand
from glidemq.commands.status import expect_ok
from glidemq.errors import ValidationError

# Later due times would spill into the next priority (wire-format 1.10): the year 2109.
LATEST_MS = 4_398_046_511_104


class MoveRow:
    """One job that stops to go on later, as an actor packs it and the gateway passes it on unread."""

    @staticmethod
    def pack(
        job_id: bytes | str,
        token: bytes,
        processed_on: int,
        entry_id: bytes,
        until_ms: int,
        data: bytes | None = None,
    ) -> bytes:
        """The row's msgpack. `until_ms` is an epoch time, the past means now; `data` is serialized text."""
        if not 0 <= until_ms < LATEST_MS:
            raise ValidationError("Timestamp must lie between 1970 and 2109")
        return pack((job_id, token, processed_on, entry_id, until_ms, False if data is None else data))


class MoveResult(NamedTuple):
    """One code per row: 1 moved, 6 failed since it was revoked, 2, 3 and 4 as for completions.

    `next_due_ms` is when the queue's next job falls due, or -1.
    """

    now_ms: int
    outcomes: list[int]
    next_due_ms: int


class MoveToDelayedCommand(RowsCommand[MoveResult]):
    """Stops running jobs until a time, perhaps with other data for the next run. No attempt is charged."""

    function = "gmq_move_to_delayed"
    replayable = True  # each move counts once, by its token

    __slots__ = ()

    def parse_reply(self, reply: list[Any]) -> MoveResult:
        expect_ok(self.function, reply)
        _, now_ms, outcomes, next_due_ms = reply
        return MoveResult(now_ms, outcomes, next_due_ms)
