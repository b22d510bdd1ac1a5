"""What the commands have in common that bring packed rows and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from glidemq.commands.command import Command
from glidemq.commands.fragments import packed_call

R = TypeVar("R")


class RowsCommand(Command[R]):
    """A call for several jobs of one queue, a packed row for each; the reply answers them in their order."""

    __slots__ = ("rows",)

    def __init__(self, queue_key: str, *, rows: Sequence[bytes]) -> None:
        super().__init__(queue_key)
        self.rows = rows

    def arguments(self) -> bytes:
        return packed_call({}, "rows", self.rows)
