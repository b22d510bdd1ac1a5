"""Name the dead letter queue of a queue."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok
from glidemq.options.dead_letter_queue import DeadLetterQueueOnWire


class SetDeadLetterQueueCommand(Command[None]):
    """Jobs that fail for good go there from now on; None: nowhere."""

    function = "gmq_set_dead_letter_queue"
    replayable = True

    __slots__ = ("dead_letters",)

    def __init__(self, queue_key: str, *, dead_letters: DeadLetterQueueOnWire | None) -> None:
        super().__init__(queue_key)
        self.dead_letters = dead_letters

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "dead_letters": self.dead_letters or False})

    def parse_reply(self, reply: list[Any]) -> None:
        expect_ok(self.function, reply)
