"""Remember a queue in which usage was reported."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class NoteUsageQueueCommand(Command[None]):
    """Adds a queue to those that `ListUsageQueuesCommand` lists.

    The key of this call is not a queue's but `usage_queues_key(prefix)`, shared by all queues of the prefix.
    """

    function = "gmq_note_usage_queue"
    replayable = True

    __slots__ = ("queue",)

    def __init__(self, usage_queues_key: str, *, queue: str) -> None:
        super().__init__(usage_queues_key)
        self.queue = queue

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "queue": self.queue})

    def parse_reply(self, reply: list[Any]) -> None:
        expect_ok(self.function, reply)
