"""Make due jobs ready."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class PromotionResult(NamedTuple):
    """Numbers of jobs, and when to come back: epoch ms, or -1 when nothing is scheduled."""

    promoted: int
    expired: int
    next_due_ms: int


class PromoteDueCommand(Command[PromotionResult]):
    """Promotes up to `limit` due jobs without a priority and up to `prioritized_limit` with one.

    Promotion fixes the order of prioritized jobs: ask for as many as there are free slots.
    """

    function = "gmq_promote_due"
    replayable = True

    __slots__ = ("events", "limit", "prioritized_limit")

    def __init__(self, queue_key: str, *, limit: int, prioritized_limit: int, events: bool = True) -> None:
        super().__init__(queue_key)
        self.limit = limit
        self.prioritized_limit = prioritized_limit
        self.events = events

    def arguments(self) -> bytes:
        return pack(
            {
                "v": CALL_VERSION,
                "limit": self.limit,
                "prioritized_limit": self.prioritized_limit,
                "events": self.events,
            }
        )

    def parse_reply(self, reply: list[Any]) -> PromotionResult:
        expect_ok(self.function, reply)
        return PromotionResult(*reply[1:4])
