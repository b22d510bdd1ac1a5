"""Report failed runs: another try later, or the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from glidemq.commands.command import Command, pack, unpack
from glidemq.commands.fragments import packed_call
from glidemq.commands.status import expect_ok
from glidemq.commands.step import Retain

# Row codes beside those of step.
RETRYING: Final = 5
FAILED: Final = 6
PUT_OFF: Final = 9  # the job was put off, uncharged

# Why a job has failed whose run ended after it was revoked, whatever its holder reported.
REVOKED_REASON: Final = "revoked"

# In place of a number of attempts: nothing failed, the job is put off and not charged.
UNCHARGED: Final = -1


class FailureRow:
    """One failed run, as an actor packs it and the gateway passes it on unread."""

    @staticmethod
    def pack(
        job_id: bytes,
        token: bytes,
        processed_on: int,
        entry_id: bytes,
        reason: str,
        max_attempts: int,
        delay_ms: int,
        retain: Retain,
        error: str = "",
        kinds: Sequence[str] | None = None,
    ) -> bytes:
        """The row's msgpack. `max_attempts` counts all runs, 0 is no retry; `retain` concerns the end, and so does
        `error`, the name of the exception. kinds: the names of its classes, for jobs whose next fallback depends on it.
        """
        row = (job_id, token, processed_on, entry_id, reason, max_attempts, delay_ms, retain, error)
        return pack(row if kinds is None else (*row, kinds))

    @staticmethod
    def pause_ms(row: bytes) -> int:
        """How long the job of a packed row is put off; 0 when it has failed."""
        fields = unpack(row)
        return int(fields[6]) if fields[5] == UNCHARGED else 0


class FailResult(NamedTuple):
    """One (code, attempts made) per row; `next_due_ms` is when the queue's next job falls due, or -1.

    posted: another queue must hear of something that happened in this call.
    """

    now_ms: int
    outcomes: list[tuple[int, int]]
    next_due_ms: int
    posted: bool = False


class FailCommand(Command[FailResult]):
    """Records failures. The server counts the attempts and decides between a retry and the end."""

    function = "gmq_fail"
    replayable = True  # each failure counts once, by its token

    __slots__ = ("consumer", "events", "metrics", "rows")

    def __init__(
        self,
        queue_key: str,
        *,
        rows: Sequence[bytes],
        consumer: str = "",
        events: bool = True,
        metrics: bool = True,
    ) -> None:
        super().__init__(queue_key)
        self.consumer = consumer
        self.rows = rows
        self.events = events
        self.metrics = metrics

    def arguments(self) -> bytes:
        return packed_call(
            {"consumer": self.consumer, "events": self.events, "metrics": self.metrics}, "rows", self.rows
        )

    def parse_reply(self, reply: list[Any]) -> FailResult:
        expect_ok(self.function, reply)
        _, now_ms, outcomes, next_due_ms, posted = reply
        return FailResult(
            now_ms, [(code, attempts) for code, attempts in outcomes], next_due_ms, bool(posted)
        )
