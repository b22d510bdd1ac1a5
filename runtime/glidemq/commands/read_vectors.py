"""Read a queue's vectors, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok


@dataclass(frozen=True, slots=True)
class VectorsPage:
    """Rows (job id, the fields asked for or False), and the command that reads the next ones; None at the end."""

    rows: Sequence[tuple[Any, ...]]
    following: ReadVectorsCommand | None


class ReadVectorsCommand(Command[VectorsPage]):
    """The vectors stored under a name, with what filters ask for. A reply holds at most 500 of them, or 1 MiB."""

    function = "gmq_read_vectors"
    replayable = True

    __slots__ = ("after", "fields")

    def __init__(self, queue_key: str, *, fields: Sequence[str], after: bytes = b"") -> None:
        """fields: the vector's name first."""
        super().__init__(queue_key)
        self.fields = fields
        self.after = after

    def arguments(self) -> bytes:
        return pack({"v": 1, "fields": list(self.fields), "after": self.after})

    def parse_reply(self, reply: list[Any]) -> VectorsPage:
        expect_ok(self.function, reply)
        _, rows, last = reply
        following = ReadVectorsCommand(self.queue_key, fields=self.fields, after=last) if last else None
        return VectorsPage([tuple(row) for row in rows], following)
