"""The heartbeat of jobs in hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok

EXTENDED: Final = 1
REVOKED: Final = 7  # extended, but somebody asked that the job stop


class ExtendResult(NamedTuple):
    """One code per row, and for those whose run is to be ended by force: position of the row, in how many ms."""

    codes: list[int]
    forced: dict[int, int]


class ExtendLeasesCommand(Command[ExtendResult]):
    """Renews leases; never takes one. The result has one code per (id, token, processed_on).

    Codes: 1 extended, 7 extended but revoked, 2 its outcome is recorded already, 3 the job was removed, 4
    the lease is somebody else's.
    """

    function = "gmq_extend_leases"
    replayable = True

    __slots__ = ("cell", "lock_ms", "rows")

    def __init__(
        self,
        queue_key: str,
        *,
        rows: Sequence[tuple[bytes, bytes, int]],
        cell: str = "",
        lock_ms: int | None = None,
    ) -> None:
        """lock_ms: the shortest lock that one of the jobs has of its own; all hosts then look for its like."""
        super().__init__(queue_key)
        self.lock_ms = lock_ms
        self.rows = rows
        self.cell = cell

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "rows": self.rows, "lock_ms": self.lock_ms or False})

    def parse_reply(self, reply: list[Any]) -> ExtendResult:
        expect_ok(self.function, reply)
        return ExtendResult(reply[2], {row - 1: force_in_ms for row, force_in_ms in reply[3]})
