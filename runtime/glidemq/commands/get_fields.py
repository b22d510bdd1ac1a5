"""Read single fields of several jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok

# More are not looked at in one call.
MAX_ROWS_PER_CALL = 1000


class GetFieldsCommand(Command[list[bytes | None]]):
    """The values for the first of `rows`, (job id, field) each, as many as fit a reply; at least one.

    None where the job or the field does not exist. Ask again for the others.
    """

    function = "gmq_get_fields"
    replayable = True

    __slots__ = ("rows",)

    def __init__(self, queue_key: str, *, rows: Sequence[tuple[str, str]]) -> None:
        super().__init__(queue_key)
        self.rows = rows

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "rows": list(self.rows[:MAX_ROWS_PER_CALL])})

    def parse_reply(self, reply: list[Any]) -> list[bytes | None]:
        expect_ok(self.function, reply)
        return [value if value is not False else None for value in reply[1]]
