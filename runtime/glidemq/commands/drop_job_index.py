"""Drop a search index."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import status_of, unexpected

WITHOUT_INDEX = frozenset({"no_index", "no_module", "cluster"})


class DropJobIndexCommand(Command[bool]):
    """Forgets an index; the vectors stay. False when there is none."""

    function = "gmq_drop_job_index"
    replayable = False  # the second call finds nothing to drop

    __slots__ = ("name",)

    def __init__(self, queue_key: str, *, name: str) -> None:
        super().__init__(queue_key)
        self.name = name

    def arguments(self) -> bytes:
        return pack({"v": 1, "name": self.name})

    def parse_reply(self, reply: list[Any]) -> bool:
        status = status_of(reply)
        if status == "ok":
            return True
        if status in WITHOUT_INDEX:
            return False
        raise unexpected(self.function, reply)
