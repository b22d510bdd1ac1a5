"""Delete the oldest messages of a broadcast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import status_of, unexpected


@dataclass(frozen=True, slots=True)
class Trimming:
    """How many messages one round has deleted, and the next round; None when there is nothing more to do."""

    deleted: int
    following: TrimBroadcastCommand | None


class TrimBroadcastCommand(Command[Trimming]):
    """Keeps the newest `max_messages` entries, and deletes the messages of the others with all that belongs to them."""

    function = "gmq_trim_broadcast"
    replayable = True

    __slots__ = ("max_messages",)

    def __init__(self, queue_key: str, *, max_messages: int) -> None:
        super().__init__(queue_key)
        self.max_messages = max_messages

    def arguments(self) -> bytes:
        return pack({"v": 1, "max_messages": self.max_messages})

    def parse_reply(self, reply: list[Any]) -> Trimming:
        status = status_of(reply)
        if status not in ("more", "done"):
            raise unexpected(self.function, reply)
        return Trimming(reply[1], self if status == "more" else None)
