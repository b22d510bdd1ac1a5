"""Take dead letters out of the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class ClearDeadLettersCommand(Command[int | None]):
    """These letters have arrived. Returns how many are left, None when it is too late to say so: read them again."""

    function = "gmq_clear_dead_letters"
    replayable = True

    __slots__ = ("entries", "read_at_ms", "token")

    def __init__(self, queue_key: str, *, token: str, read_at_ms: int, entries: Sequence[bytes]) -> None:
        super().__init__(queue_key)
        self.token = token
        self.read_at_ms = read_at_ms
        self.entries = entries

    def arguments(self) -> bytes:
        return pack(
            {
                "v": CALL_VERSION,
                "token": self.token,
                "read_at": self.read_at_ms,
                "entries": list(self.entries),
            }
        )

    def parse_reply(self, reply: list[Any]) -> int | None:
        if reply[0] == b"too_late":
            return None
        expect_ok(self.function, reply)
        left: int = reply[1]
        return left
