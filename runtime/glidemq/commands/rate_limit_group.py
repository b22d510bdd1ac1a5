"""Report running jobs that pause their group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import packed_call
from glidemq.commands.status import expect_ok
from glidemq.commands.step import Retain

# Row code beside those of step and fail: the job has no group, nothing changed.
NO_GROUP = 8


class GroupPauseRow:
    """One job that pauses its group, as an actor packs it and the gateway passes it on unread."""

    @staticmethod
    def pack(
        job_id: bytes,
        token: bytes,
        processed_on: int,
        entry_id: bytes,
        duration_ms: int,
        *,
        current: Literal["requeue", "fail"] = "requeue",
        position: Literal["front", "back"] = "front",
        extend: Literal["max", "replace"] = "max",
        retain: Retain = False,
    ) -> bytes:
        """The row's msgpack. `retain` concerns a job that fails."""
        return pack((job_id, token, processed_on, entry_id, duration_ms, current, position, extend, retain))


class GroupPauseResult(NamedTuple):
    """One (code, epoch ms at which the group resumes) per row; `next_due_ms` is the queue's next due time, or -1.

    Codes: 1 parked, 6 failed, 8 the job has no group, 2, 3 and 4 as for completions.
    """

    now_ms: int
    outcomes: list[tuple[int, int]]
    next_due_ms: int


class RateLimitGroupCommand(Command[GroupPauseResult]):
    """Pauses the groups of running jobs; each of these is parked uncharged, or fails for good."""

    function = "gmq_rate_limit_group"
    replayable = True  # each pause counts once, by its job's token

    __slots__ = ("events", "metrics", "rows")

    def __init__(
        self, queue_key: str, *, rows: Sequence[bytes], events: bool = True, metrics: bool = True
    ) -> None:
        super().__init__(queue_key)
        self.rows = rows
        self.events = events
        self.metrics = metrics

    def arguments(self) -> bytes:
        return packed_call({"events": self.events, "metrics": self.metrics}, "rows", self.rows)

    def parse_reply(self, reply: list[Any]) -> GroupPauseResult:
        expect_ok(self.function, reply)
        _, now_ms, outcomes, next_due_ms = reply
        return GroupPauseResult(now_ms, [(code, resume_at) for code, resume_at in outcomes], next_due_ms)
