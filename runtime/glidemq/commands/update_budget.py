"""Change the budget of a flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_job

# Jobs that one call lets ask again, about 20 us each.
WOKEN_PER_CALL: Final = 200


class UpdateBudgetCommand(Command[int | None]):
    """Changes limits and lets jobs that were paused ask again. None: there is no such budget; else how many are left,
    for another call that changes nothing.

    fields: limits by their names on the wire. unset: limits to be taken away.
    """

    function = "gmq_update_budget"
    replayable = True  # the same limits again

    __slots__ = ("fields", "flow_id", "unset")

    def __init__(
        self, queue_key: str, *, flow_id: str, fields: Mapping[str, str], unset: Sequence[str] = ()
    ) -> None:
        super().__init__(queue_key)
        self.flow_id = flow_id
        self.fields = fields
        self.unset = unset

    def arguments(self) -> bytes:
        pairs = [text for pair in self.fields.items() for text in pair]
        return pack(
            {
                "v": CALL_VERSION,
                "flow": self.flow_id,
                "set": pairs,
                "unset": list(self.unset),
                "limit": WOKEN_PER_CALL,
            }
        )

    def parse_reply(self, reply: list[Any]) -> int | None:
        if not expect_job(self.function, reply):
            return None
        left: int = reply[1]
        return left
