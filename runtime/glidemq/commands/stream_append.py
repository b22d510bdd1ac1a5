"""Append chunks to the streams of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok

# Row codes, in place of an entry's id: nothing was appended.
GONE: Final = "3"
LEASE_LOST: Final = "4"


class Appended(NamedTuple):
    """What became of the chunks of one call."""

    entry_ids: Sequence[str]
    """For each chunk its entry's id, "1700000000000-0", or a row code."""
    era: int
    """Runs whose chunks were appended need no look while it lasts; 0: look at every chunk."""


class StreamAppendCommand(Command[Appended]):
    """Appends chunks, see `glidemq.job.chunks`.

    lane: whoever makes these calls, one at a time; a random text.
    call: a number, larger than that of the lane's call before. A repeated call appends nothing.
    era: of the lane's reply before, 0 at first. chunks: their elements, one chunk after the other.
    """

    function = "gmq_stream_append"
    replayable = True

    __slots__ = ("call", "chunks", "era", "lane")

    def __init__(self, queue_key: str, *, lane: str, call: int, era: int, chunks: Sequence[Any]) -> None:
        super().__init__(queue_key)
        self.lane = lane
        self.call = call
        self.era = era
        self.chunks = chunks

    def arguments(self) -> bytes:
        return pack(
            {"v": CALL_VERSION, "lane": self.lane, "call": self.call, "era": self.era, "chunks": self.chunks}
        )

    def parse_reply(self, reply: list[Any]) -> Appended:
        expect_ok(self.function, reply)
        return Appended(reply[1].decode().split(" "), reply[2])
