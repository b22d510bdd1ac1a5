"""Read one scheduler."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_job


class GetSchedulerCommand(Command[bytes | None]):
    """The scheduler's entry as stored, JSON; None when there is none."""

    function = "gmq_get_scheduler"
    replayable = True

    __slots__ = ("name",)

    def __init__(self, queue_key: str, *, name: str) -> None:
        super().__init__(queue_key)
        self.name = name

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "name": self.name})

    def parse_reply(self, reply: list[Any]) -> bytes | None:
        return reply[1] if expect_job(self.function, reply) else None
