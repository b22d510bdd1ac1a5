"""Tell the budgets of flows what jobs in other queues ask and have used."""

from __future__ import annotations

from typing import Any, Final

from glidemq.commands.rows_command import RowsCommand
from glidemq.commands.status import expect_ok

# The outbox entries that this command takes.
KIND: Final = b"budget"


class HearBudgetsCommand(RowsCommand[bool]):
    """Brings packed statements to the budgets in one queue. True when there are answers to be carried now."""

    function = "gmq_hear_budgets"
    replayable = True  # hearing something twice changes nothing

    __slots__ = ()

    def parse_reply(self, reply: list[Any]) -> bool:
        expect_ok(self.function, reply)
        return bool(reply[1])
