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

    __slots__ = ("cell", "rows")

    def __init__(self, queue_key: str, *, rows: Sequence[tuple[bytes, bytes, int]], cell: str = "") -> None:
        super().__init__(queue_key)
        self.rows = rows
        self.cell = cell

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "rows": self.rows})

    def parse_reply(self, reply: list[Any]) -> list[int]:
        expect_ok(self.function, reply)
        codes: list[int] = reply[2]
        return codes
