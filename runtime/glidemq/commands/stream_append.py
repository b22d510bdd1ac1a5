"""Append chunks to the streams of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from glidemq.commands.command import Command
from glidemq.commands.fragments import packed_call
from glidemq.commands.status import expect_ok

# Row codes: nothing was appended.
GONE: Final = 3
LEASE_LOST: Final = 4


class StreamAppendCommand(Command[Sequence[bytes | int]]):
    """Appends a packed row each, see `glidemq.job.chunks`; the entry's id or a row code for each of them.

    lane: whoever makes these calls, one at a time; a random text.
    call: a number, larger than that of the lane's call before. A repeated call appends nothing.
    """

    function = "gmq_stream_append"
    replayable = True

    __slots__ = ("call", "lane", "rows")

    def __init__(self, queue_key: str, *, lane: str, call: int, rows: Sequence[bytes]) -> None:
        super().__init__(queue_key)
        self.lane = lane
        self.call = call
        self.rows = rows

    def arguments(self) -> bytes:
        return packed_call({"lane": self.lane, "call": self.call}, "rows", self.rows)

    def parse_reply(self, reply: list[Any]) -> Sequence[bytes | int]:
        expect_ok(self.function, reply)
        ids: list[bytes | int] = reply[1]
        return ids
