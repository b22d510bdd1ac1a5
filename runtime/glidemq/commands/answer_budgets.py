"""Tell jobs what the budgets of their flows, in other queues, have answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from glidemq.commands.command import Command
from glidemq.commands.fragments import packed_call
from glidemq.commands.status import expect_ok

# The outbox entries that this command takes.
KIND: Final = b"budget-answer"


class AnswerBudgetsCommand(Command[bool]):
    """Brings packed answers to the jobs of one queue. True when another queue has to hear of what follows."""

    function = "gmq_answer_budgets"
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
