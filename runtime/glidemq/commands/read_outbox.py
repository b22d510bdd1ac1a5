"""Read what other queues must hear of a queue's jobs."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class Letter(NamedTuple):
    """One entry of an outbox.

    kind: whose command takes `body`, a packed row. to: what the addressed queue's keys start with.
    """

    entry_id: bytes
    kind: bytes
    to: bytes
    body: bytes
    age_ms: int


class OutboxPage(NamedTuple):
    """Some letters, oldest first, and where to read on; "" at the end."""

    letters: list[Letter]
    next: str


class ReadOutboxCommand(Command[OutboxPage]):
    """Reads up to `limit` letters; those younger than `min_age_ms` are left to whoever posted them."""

    function = "gmq_read_outbox"
    replayable = True

    __slots__ = ("after", "limit", "min_age_ms")

    def __init__(self, queue_key: str, *, limit: int, min_age_ms: int = 0, after: str = "") -> None:
        super().__init__(queue_key)
        self.limit = limit
        self.min_age_ms = min_age_ms
        self.after = after

    def arguments(self) -> bytes:
        return pack(
            {"v": CALL_VERSION, "limit": self.limit, "min_age_ms": self.min_age_ms, "after": self.after}
        )

    def parse_reply(self, reply: list[Any]) -> OutboxPage:
        expect_ok(self.function, reply)
        return OutboxPage([Letter._make(letter) for letter in reply[1]], reply[2].decode())
