"""Take a worker out of a queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok


@dataclass(frozen=True, slots=True)
class Departure:
    """How many jobs given back earlier were moved for Node workers, and whether more are to be moved."""

    moved: int
    more: bool


class LeaveCommand(Command[Departure]):
    """Removes a worker's registry entry and, unless something is still pending for it, its consumer name.

    The last worker of this library to leave a queue where a Node worker is alive makes the jobs given back
    visible to Node: at most 500 a call, so execute it again while `more`.
    """

    function = "gmq_leave"
    replayable = True

    __slots__ = ("cell", "consumer")

    def __init__(self, queue_key: str, *, consumer: str, cell: str) -> None:
        super().__init__(queue_key)
        self.consumer = consumer
        self.cell = cell

    def arguments(self) -> bytes:
        return pack({"v": 1, "consumer": self.consumer, "cell": self.cell})

    def parse_reply(self, reply: list[Any]) -> Departure:
        expect_ok(self.function, reply)
        _, moved, more = reply
        return Departure(moved, bool(more))
