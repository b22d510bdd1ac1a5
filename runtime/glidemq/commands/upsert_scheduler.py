"""Create or change a scheduler."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok, status_of
from glidemq.errors import ValidationError


class UpsertResult(NamedTuple):
    """The entry as stored; or None: again in a moment because somebody holds the lock, or, where `clock_ms` is
    given, at once with a first run computed for this time of the server."""

    entry: bytes | None
    clock_ms: int | None = None


class UpsertSchedulerCommand(Command[UpsertResult]):
    """Stores an entry: JSON without lastRun and nextRun. A schedule that is unchanged keeps its next run.

    first_run_ms: for a cron pattern, its first slot after `asked_at_ms`; None when it has none. Raises
    ValidationError when no run lies within the schedule's bounds.
    """

    function = "gmq_upsert_scheduler"
    replayable = True

    __slots__ = ("asked_at_ms", "entry", "first_run_ms", "name")

    def __init__(
        self,
        queue_key: str,
        *,
        name: str,
        entry: bytes,
        first_run_ms: int | None = None,
        asked_at_ms: int | None = None,
    ) -> None:
        super().__init__(queue_key)
        self.name = name
        self.entry = entry
        self.first_run_ms = first_run_ms
        self.asked_at_ms = asked_at_ms

    def arguments(self) -> bytes:
        return pack(
            {
                "v": CALL_VERSION,
                "name": self.name,
                "entry": self.entry,
                "first_run": self.first_run_ms if self.first_run_ms is not None else False,
                "asked_at": self.asked_at_ms if self.asked_at_ms is not None else False,
            }
        )

    def parse_reply(self, reply: list[Any]) -> UpsertResult:
        status = status_of(reply)
        if status == "busy":
            return UpsertResult(None)
        if status == "clock":
            return UpsertResult(None, reply[1])
        if status == "no_occurrences":
            raise ValidationError("Schedule has no occurrences within the configured bounds")
        expect_ok(self.function, reply)
        return UpsertResult(reply[1])
