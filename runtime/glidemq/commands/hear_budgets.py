"""Tell the budgets of flows what jobs in other queues ask and have used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from glidemq.commands.command import Command
from glidemq.commands.fragments import packed_call
from glidemq.commands.status import expect_ok

# The outbox entries that this command takes.
KIND: Final = b"budget"


class HearBudgetsCommand(Command[bool]):
    """Brings packed statements to the budgets in one queue. True when there are answers to be carried now."""

    function = "gmq_hear_budgets"
    replayable = True  # hearing something twice changes nothing

    __slots__ = ("rows",)

    def __init__(self, queue_key: str, *, rows: Sequence[bytes]) -> None:
        super().__init__(queue_key)
        self.rows = rows

    def arguments(self) -> bytes:
        return packed_call({}, "rows", self.rows)

    def parse_reply(self, reply: list[Any]) -> bool:
        expect_ok(self.function, reply)
        return bool(reply[1])
