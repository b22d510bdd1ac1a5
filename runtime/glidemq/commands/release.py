"""Give jobs back that never started, or whose process ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.rate_limit import RateLimitOnWire, limiter_member
from glidemq.commands.status import expect_ok

ENDED_ON_PURPOSE: Final = ""

# id, token, processed_on, entry_id, and what is known of a crash: None for a job that never started, the
# signal's name ("SIGSEGV") when only this job was running, True when it ran beside others, ENDED_ON_PURPOSE when it was
# running and nothing crashed.
ReleaseRow = tuple[bytes, bytes, int, bytes, str | bool | None]


class ReleaseCommand(Command[list[int]]):
    """Returns jobs to the front of their queue without charging an attempt. The result is one code per row.

    Codes: 1 released, 6 failed for good (crashed `max_crashes` times, or revoked), 2, 3 and 4 as for
    completions. tail: make them ordinary entries at the end, for workers of the Node library. limiter: as in
    step, so that starts which did not happen are not counted.
    """

    function = "gmq_release"
    replayable = True  # a returned job's token is spent

    __slots__ = ("cell", "consumer", "events", "limiter", "max_crashes", "metrics", "rows", "tail")

    def __init__(
        self,
        queue_key: str,
        *,
        consumer: str,
        rows: Sequence[ReleaseRow],
        max_crashes: int,
        cell: str = "",
        tail: bool = False,
        limiter: RateLimitOnWire | None = None,
        events: bool = True,
        metrics: bool = True,
    ) -> None:
        super().__init__(queue_key)
        self.consumer = consumer
        self.cell = cell
        self.rows = rows
        self.max_crashes = max_crashes
        self.tail = tail
        self.limiter = limiter
        self.events = events
        self.metrics = metrics

    def arguments(self) -> bytes:
        return pack(
            {
                "v": CALL_VERSION,
                "consumer": self.consumer,
                "rows": [(*row[:4], False if row[4] is None else row[4]) for row in self.rows],
                "max_crashes": self.max_crashes,
                "tail": self.tail,
                "limiter": limiter_member(self.limiter),
                "events": self.events,
                "metrics": self.metrics,
            }
        )

    def parse_reply(self, reply: list[Any]) -> list[int]:
        expect_ok(self.function, reply)
        codes: list[int] = reply[2]
        return codes
