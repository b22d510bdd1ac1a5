"""Delete the jobs that wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import status_of, unexpected


@dataclass(frozen=True, slots=True)
class Drainage:
    """How many jobs were deleted so far, and the command for the next round; None at the end."""

    deleted: int
    following: DrainCommand | None


class DrainCommand(Command[Drainage]):
    """Deletes all jobs that wait or are prioritized, and with `delayed` those that are delayed.

    Works in rounds: execute `following` until there is none. What is added after the first round stays, as do
    running, suspended and parked jobs and parents that wait for their children.
    """

    function = "gmq_drain"

    __slots__ = ("delayed", "resume")

    def __init__(self, queue_key: str, *, delayed: bool = False, resume: list[Any] | None = None) -> None:
        super().__init__(queue_key)
        self.delayed = delayed
        self.resume = resume

    def arguments(self) -> bytes:
        return pack({"v": 1, "delayed": self.delayed, "resume": self.resume or False})

    def parse_reply(self, reply: list[Any]) -> Drainage:
        status = status_of(reply)
        if status == "done":
            return Drainage(reply[1], None)
        if status == "more":
            _, deleted, resume = reply
            return Drainage(deleted, DrainCommand(self.queue_key, delayed=self.delayed, resume=resume))
        raise unexpected(self.function, reply)
