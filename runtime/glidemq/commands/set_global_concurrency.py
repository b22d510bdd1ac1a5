"""Limit how many jobs of a queue run at once."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok
from glidemq.errors import ValidationError


class SetGlobalConcurrencyCommand(Command[None]):
    """Lets at most `concurrency` jobs run at once on all workers together; 0 removes the limit."""

    function = "gmq_set_global_concurrency"
    replayable = True

    __slots__ = ("concurrency",)

    def __init__(self, queue_key: str, *, concurrency: int) -> None:
        super().__init__(queue_key)
        if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 0:  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError(f"concurrency must be a non-negative integer, not {concurrency!r}")
        self.concurrency = concurrency

    def arguments(self) -> bytes:
        return pack({"v": 1, "concurrency": self.concurrency})

    def parse_reply(self, reply: list[Any]) -> None:
        expect_ok(self.function, reply)
