"""Report running jobs that wait for a signal."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import pack
from glidemq.commands.rows_command import RowsCommand
from glidemq.commands.status import expect_ok


class SuspendRow:
    """One running job that waits for a signal from now on."""

    @staticmethod
    def pack(
        job_id: bytes | str,
        token: bytes,
        processed_on: int,
        entry_id: bytes,
        reason: str | None,
        timeout_ms: int,
    ) -> bytes:
        """The row's msgpack. `timeout_ms` 0 is for ever."""
        return pack((job_id, token, processed_on, entry_id, reason or False, timeout_ms))


class SuspendResult(NamedTuple):
    """One code per row; `next_due_ms` is the queue's next due time, or -1.

    Codes: 1 it waits, or a signal that came early has let it go on; 6 failed since it was revoked; 2, 3 and 4 as
    for completions.
    """

    now_ms: int
    outcomes: list[int]
    next_due_ms: int


class SuspendCommand(RowsCommand[SuspendResult]):
    """Suspends running jobs until a signal. No attempt is charged."""

    function = "gmq_suspend"
    replayable = True  # each wait counts once, by its token

    __slots__ = ()

    def parse_reply(self, reply: list[Any]) -> SuspendResult:
        expect_ok(self.function, reply)
        _, now_ms, outcomes, next_due_ms = reply
        return SuspendResult(now_ms, outcomes, next_due_ms)
