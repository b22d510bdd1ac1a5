"""Somebody outside pauses a group."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.rate_limit_group import Extend
from glidemq.commands.status import expect_ok


class RateLimitGroupExternalCommand(Command[int]):
    """Lets no job of a group start for a while; the result is when they go on, in epoch ms."""

    function = "gmq_rate_limit_group_external"
    replayable = True  # the pause of a repeated call reaches further by the time between both

    __slots__ = ("duration_ms", "events", "extend", "group_key")

    def __init__(
        self, queue_key: str, *, group_key: str, duration_ms: int, extend: Extend = "max", events: bool = True
    ) -> None:
        super().__init__(queue_key)
        self.group_key = group_key
        self.duration_ms = duration_ms
        self.extend = extend
        self.events = events

    def arguments(self) -> bytes:
        return pack(
            {
                "v": CALL_VERSION,
                "group_key": self.group_key,
                "duration_ms": self.duration_ms,
                "extend": self.extend,
                "events": self.events,
            }
        )

    def parse_reply(self, reply: list[Any]) -> int:
        expect_ok(self.function, reply)
        resume_at: int = reply[1]
        return resume_at
