"""Running jobs pause the groups that they belong to."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypeAlias

from glidemq.commands.command import pack
from glidemq.commands.rows_command import RowsCommand
from glidemq.commands.status import expect_ok

CurrentJob: TypeAlias = Literal["requeue", "fail"]
RequeuePosition: TypeAlias = Literal["front", "back"]
Extend: TypeAlias = Literal["max", "replace"]

# Row code beside those of step: the job belongs to no group, nothing changed.
NO_GROUP: Final = 8


class GroupPauseRow:
    """One running job that asks for a pause of its group."""

    @staticmethod
    def pack(
        job_id: bytes | str,
        token: bytes,
        processed_on: int,
        entry_id: bytes,
        duration_ms: int,
        *,
        current: CurrentJob = "requeue",
        position: RequeuePosition = "front",
        extend: Extend = "max",
    ) -> bytes:
        """The row's msgpack. extend: "max" keeps a pause that goes further, "replace" does not."""
        return pack((job_id, token, processed_on, entry_id, duration_ms, current, position, extend))


class GroupPauseResult(NamedTuple):
    """One (code, resume time) per row: 1 parked, or failed as it was to; 6 failed since it was revoked; 8 no group; 2,
    3 and 4 as for completions.

    Resume times are epoch ms, 0 where nothing was paused. `next_due_ms` is when the queue's next job may start, or -1.
    """

    now_ms: int
    outcomes: list[tuple[int, int]]
    next_due_ms: int


class RateLimitGroupCommand(RowsCommand[GroupPauseResult]):
    """Pauses groups for a while. The jobs that ask are parked without being charged, or fail for good."""

    function = "gmq_rate_limit_group"
    replayable = True  # each pause counts once, by its job's token

    __slots__ = ()

    def parse_reply(self, reply: list[Any]) -> GroupPauseResult:
        expect_ok(self.function, reply)
        _, now_ms, outcomes, next_due_ms = reply
        return GroupPauseResult(now_ms, [(code, resume_at) for code, resume_at in outcomes], next_due_ms)
