"""Delete a scheduler."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_job, status_of


class RemoveSchedulerCommand(Command[bool | None]):
    """True when there was one; None when somebody holds the lock: again in a moment."""

    function = "gmq_remove_scheduler"
    replayable = True

    __slots__ = ("name",)

    def __init__(self, queue_key: str, *, name: str) -> None:
        super().__init__(queue_key)
        self.name = name

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "name": self.name})

    def parse_reply(self, reply: list[Any]) -> bool | None:
        if status_of(reply) == "busy":
            return None
        return expect_job(self.function, reply)
