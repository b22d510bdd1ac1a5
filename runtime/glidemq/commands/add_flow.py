"""Add jobs that belong together, all of them or none."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from glidemq.commands.command import Command
from glidemq.commands.fragments import packed_call
from glidemq.commands.status import status_of, unexpected
from glidemq.errors import QueueFullError, ValidationError


class AddFlowCommand(Command[str | None]):
    """Adds packed rows that carry ids of their own (see `ReserveIdsCommand`).

    None when they were added; else the id that a job has already, and nothing was added. Raises ValidationError when
    a job costs more than its group's bucket can hold, QueueFullError when more than `max_waiting` jobs would wait
    afterwards. Repeating the call after a lost reply adds nothing.
    """

    function = "gmq_add_flow"
    replayable = True

    __slots__ = ("budgets", "call_id", "max_waiting", "rows")

    def __init__(
        self,
        queue_key: str,
        *,
        rows: Sequence[bytes],
        max_waiting: int | None = None,
        call_id: str | None = None,
        budgets: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """budgets: those that are to be made, by the ids of their flows' roots, which are in this queue."""
        super().__init__(queue_key)
        self.rows = rows
        self.max_waiting = max_waiting
        self.budgets = budgets or {}
        self.call_id = call_id if call_id is not None else secrets.token_hex(8)

    def arguments(self) -> bytes:
        members: dict[str, Any] = {"idem": self.call_id}
        if self.max_waiting is not None:
            members["max_waiting"] = self.max_waiting
        if self.budgets:
            members["budgets"] = [
                (flow_id, [text for pair in fields.items() for text in pair])
                for flow_id, fields in self.budgets.items()
            ]
        return packed_call(members, "jobs", self.rows)

    def parse_reply(self, reply: list[Any]) -> str | None:
        status = status_of(reply)
        if status == "ok":
            return None
        if status == "duplicate":
            taken: str = reply[1].decode()
            return taken
        if status == "queue_full":
            _, waiting, maximum = reply
            raise QueueFullError(
                f"{waiting} jobs wait, and {len(self.rows)} more would exceed max_waiting={maximum}; "
                "nothing was added"
            )
        if status == "cost_exceeds_capacity":
            raise ValidationError("Job cost exceeds token bucket capacity")
        raise unexpected(self.function, reply)
