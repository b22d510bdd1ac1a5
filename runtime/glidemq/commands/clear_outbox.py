"""Take entries out of an outbox once they have been carried over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class ClearOutboxCommand(Command[int]):
    """Deletes these entries; how many are left."""

    function = "gmq_clear_outbox"
    replayable = True

    __slots__ = ("entry_ids",)

    def __init__(self, queue_key: str, *, entry_ids: Sequence[bytes]) -> None:
        super().__init__(queue_key)
        self.entry_ids = entry_ids

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "entries": list(self.entry_ids)})

    def parse_reply(self, reply: list[Any]) -> int:
        expect_ok(self.function, reply)
        left: int = reply[1]
        return left
