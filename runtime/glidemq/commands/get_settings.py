"""Read what is set for a queue as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.rate_limit import RateLimitOnWire
from glidemq.commands.status import expect_ok


@dataclass(frozen=True, slots=True)
class StoredSettings:
    """The settings that all hosts share; None where nothing is set."""

    paused: bool
    global_concurrency: int | None
    global_rate_limit: RateLimitOnWire | None
    dead_letter_queue: str | None


class GetSettingsCommand(Command[StoredSettings]):
    """The queue's pause flag, limits and dead letter queue."""

    function = "gmq_get_settings"
    replayable = True

    __slots__ = ()

    def arguments(self) -> bytes:
        return pack({"v": 1})

    def parse_reply(self, reply: list[Any]) -> StoredSettings:
        expect_ok(self.function, reply)
        _, paused, concurrency, rate, dead_letters = reply
        return StoredSettings(
            paused=bool(paused),
            global_concurrency=int(concurrency) if concurrency else None,
            global_rate_limit=RateLimitOnWire(int(rate[0]), int(rate[1])) if rate else None,
            dead_letter_queue=dead_letters.decode() if dead_letters else None,
        )
