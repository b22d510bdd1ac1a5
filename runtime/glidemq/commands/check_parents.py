"""Which parents have waited for a while."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class CheckParentsCommand(Command[list[str]]):
    """Up to `limit` waiting parents whose children somebody should look for now; each is named to one caller."""

    function = "gmq_check_parents"
    replayable = True  # a reply that was lost costs a look

    __slots__ = ("limit",)

    def __init__(self, queue_key: str, *, limit: int) -> None:
        super().__init__(queue_key)
        self.limit = limit

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "limit": self.limit})

    def parse_reply(self, reply: list[Any]) -> list[str]:
        expect_ok(self.function, reply)
        return [job_id.decode() for job_id in reply[1]]
