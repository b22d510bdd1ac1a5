"""Pause a group from outside its jobs."""

from __future__ import annotations

from typing import Any, Literal

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class RateLimitGroupExternalCommand(Command[int]):
    """Starts no further job of a group for `duration_ms`; the result is the epoch ms at which it resumes.

    extend: "max" keeps a pause that goes further, "replace" does not. Running jobs go on.
    """

    function = "gmq_rate_limit_group_external"
    replayable = True  # a repetition pauses from its own time on, by no more than the lost reply took

    __slots__ = ("duration_ms", "events", "extend", "group_key")

    def __init__(
        self,
        queue_key: str,
        *,
        group_key: str,
        duration_ms: int,
        extend: Literal["max", "replace"] = "max",
        events: bool = True,
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
        resume_at_ms: int = reply[1]
        return resume_at_ms
