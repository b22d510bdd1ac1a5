"""Limit how many jobs of a queue start per window."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.rate_limit import RateLimitOnWire
from glidemq.commands.status import expect_ok
from glidemq.errors import ValidationError


class SetGlobalRateLimitCommand(Command[None]):
    """Limits the starts of all workers together; None removes the limit.

    Of this and a worker's own limiter the stricter one counts (ruling 23).
    """

    function = "gmq_set_global_rate_limit"
    replayable = True

    __slots__ = ("limit",)

    def __init__(self, queue_key: str, *, limit: RateLimitOnWire | None) -> None:
        super().__init__(queue_key)
        if limit is not None and (limit.max < 1 or limit.duration_ms < 1):
            raise ValidationError(
                "a rate limit needs a max of at least 1 and a duration of at least a millisecond"
            )
        self.limit = limit

    def arguments(self) -> bytes:
        members = {"max": False, "duration_ms": False} if self.limit is None else self.limit.members()
        return pack({"v": 1, **members})

    def parse_reply(self, reply: list[Any]) -> None:
        expect_ok(self.function, reply)
