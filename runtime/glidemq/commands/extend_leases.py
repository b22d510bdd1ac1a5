"""The heartbeat of jobs in hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok

EXTENDED: Final = 1
REVOKED: Final = 7  # extended, but somebody asked that the job stop


class ExtendLeasesCommand(Command[list[int]]):
    """Renews leases; never takes one. The result is one code per (id, token, processed_on).

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

    def parse_reply(self, reply: list[Any]) -> list[int]:
        expect_ok(self.function, reply)
        codes: list[int] = reply[2]
        return codes
