"""Add jobs that belong together, all of them or none."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from glidemq.commands.command import Command
from glidemq.commands.fragments import packed_call
from glidemq.commands.status import status_of, unexpected
from glidemq.errors import ValidationError


class AddFlowCommand(Command[str | None]):
    """Adds packed rows that carry ids of their own (see `ReserveIdsCommand`).

    None when they were added; else the id that a job has already, and nothing was added. Raises ValidationError when
    a job costs more than its group's bucket can hold. Repeating the call after a lost reply adds nothing.
    """

    function = "gmq_add_flow"
    replayable = True

    __slots__ = ("call_id", "rows")

    def __init__(self, queue_key: str, *, rows: Sequence[bytes], call_id: str | None = None) -> None:
        super().__init__(queue_key)
        self.rows = rows
        self.call_id = call_id if call_id is not None else secrets.token_hex(8)

    def arguments(self) -> bytes:
        return packed_call({"idem": self.call_id}, "jobs", self.rows)

    def parse_reply(self, reply: list[Any]) -> str | None:
        status = status_of(reply)
        if status == "ok":
            return None
        if status == "duplicate":
            taken: str = reply[1].decode()
            return taken
        if status == "cost_exceeds_capacity":
            raise ValidationError("Job cost exceeds token bucket capacity")
        raise unexpected(self.function, reply)
