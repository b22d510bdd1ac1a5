"""Read what a queue's jobs have used in a span of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok

MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class UsageBuckets:
    """The summed fields of some buckets, raw, and what reads on; None at the end."""

    fields: Mapping[str, bytes]
    following: GetUsageBucketsCommand | None


class GetUsageBucketsCommand(Command[UsageBuckets]):
    """The sum of the buckets of the minutes first..last, both inclusive; about a thousand a call."""

    function = "gmq_get_usage_buckets"
    replayable = True

    __slots__ = ("first_ms", "last_ms")

    def __init__(self, queue_key: str, *, first_ms: int, last_ms: int) -> None:
        super().__init__(queue_key)
        self.first_ms = first_ms
        self.last_ms = last_ms

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "first": self.first_ms, "last": self.last_ms})

    def parse_reply(self, reply: list[Any]) -> UsageBuckets:
        expect_ok(self.function, reply)
        _, flat, next_ms = reply
        fields = {
            name.decode("utf-8", "replace"): value for name, value in zip(flat[::2], flat[1::2], strict=True)
        }
        following = None
        if next_ms >= 0:
            following = GetUsageBucketsCommand(self.queue_key, first_ms=int(next_ms), last_ms=self.last_ms)
        return UsageBuckets(fields, following)
