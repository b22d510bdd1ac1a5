"""List the queues in which usage was reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


@dataclass(frozen=True, slots=True)
class UsageQueues:
    """Names of queues, perhaps some twice, and what reads on; None at the end."""

    queues: Sequence[str]
    following: ListUsageQueuesCommand | None


class ListUsageQueuesCommand(Command[UsageQueues]):
    """The queues of a prefix in which usage was ever reported, by this library or by Node, a page at a time."""

    function = "gmq_list_usage_queues"
    replayable = True

    __slots__ = ("cursor",)

    def __init__(self, usage_queues_key: str, *, cursor: bytes | None = None) -> None:
        super().__init__(usage_queues_key)
        self.cursor = cursor

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "cursor": self.cursor or False})

    def parse_reply(self, reply: list[Any]) -> UsageQueues:
        expect_ok(self.function, reply)
        _, queues, cursor = reply
        following = ListUsageQueuesCommand(self.queue_key, cursor=cursor) if cursor else None
        return UsageQueues([queue.decode("utf-8", "replace") for queue in queues], following)
