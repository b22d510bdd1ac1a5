"""Read the budget of a flow."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_job


class StoredBudget(NamedTuple):
    """The fields of the budget's hash, and what is reserved, by the field that counts it."""

    fields: dict[str, str]
    reserved: dict[str, str]


class GetBudgetCommand(Command[StoredBudget | None]):
    """The budget of the flow with this root, which is in this queue; None if it has none."""

    function = "gmq_get_budget"
    replayable = True

    __slots__ = ("flow_id",)

    def __init__(self, queue_key: str, *, flow_id: str) -> None:
        super().__init__(queue_key)
        self.flow_id = flow_id

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "flow": self.flow_id})

    def parse_reply(self, reply: list[Any]) -> StoredBudget | None:
        if not expect_job(self.function, reply):
            return None
        return StoredBudget(_paired(reply[1]), _paired(reply[2]))


def _paired(flat: list[bytes]) -> dict[str, str]:
    texts = [text.decode("utf-8", "replace") for text in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))
