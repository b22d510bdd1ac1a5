"""Read chunks of a job's stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok

BEGINNING: Final = "0-0"


@dataclass(frozen=True, slots=True)
class RawChunk:
    """One entry of the stream, its fields and values alternating, raw."""

    id: str
    flat: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class StreamPage:
    """Some chunks.

    state: of the job; "removed" if it has ended and was removed, but its stream is still there; None when it does not
        exist.
    more: others stand behind these.
    gone: the id of the last chunk that can no longer be read although it stood behind the position; then there are
        no others here.
    """

    chunks: Sequence[RawChunk]
    state: str | None
    more: bool
    gone: str | None


class ReadStreamCommand(Command[StreamPage]):
    """The chunks behind `last_id`: at most `count`, and fewer when they are large."""

    function = "gmq_read_stream"
    replayable = True

    __slots__ = ("count", "job_id", "last_id")

    def __init__(self, queue_key: str, *, job_id: str, last_id: str, count: int) -> None:
        super().__init__(queue_key)
        self.job_id = job_id
        self.last_id = last_id
        self.count = count

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "id": self.job_id, "last_id": self.last_id, "count": self.count})

    def parse_reply(self, reply: list[Any]) -> StreamPage:
        expect_ok(self.function, reply)
        _, entries, state, more, gone = reply
        return StreamPage(
            [RawChunk(entry_id.decode(), flat) for entry_id, flat in entries],
            state.decode("utf-8", "replace") if state else None,
            bool(more),
            gone.decode() if gone else None,
        )
