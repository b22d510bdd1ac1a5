"""Make a job of a dead letter."""

from __future__ import annotations

from typing import Any, Final

from glidemq.commands.command import Command
from glidemq.commands.fragments import packed_call
from glidemq.commands.status import expect_ok, status_of
from glidemq.errors import ValidationError

TOO_LATE: Final = False
SKIPPED: Final = None


class ReplayDeadLetterCommand(Command[str | bool | None]):
    """Adds the packed row `job` for the letter of this name, once however often it is asked for.

    Returns the job's id; SKIPPED when its custom id is taken; TOO_LATE when the letter was read (`read_at_ms`) so long
    ago that somebody else may have replayed it since. Raises ValidationError for a job that could never start.
    """

    function = "gmq_replay_dead_letter"
    replayable = True

    __slots__ = ("job", "letter", "read_at_ms")

    def __init__(self, queue_key: str, *, letter: str, read_at_ms: int, job: bytes) -> None:
        super().__init__(queue_key)
        self.letter = letter
        self.read_at_ms = read_at_ms
        self.job = job

    def arguments(self) -> bytes:
        members = {"letter": self.letter, "read_at": self.read_at_ms}
        return packed_call(members, "jobs", [self.job])

    def parse_reply(self, reply: list[Any]) -> str | bool | None:
        status = status_of(reply)
        if status == "too_late":
            return TOO_LATE
        if status == "skipped":
            return SKIPPED
        if status == "cost_exceeds_capacity":
            raise ValidationError("Job cost exceeds token bucket capacity")
        expect_ok(self.function, reply)
        job_id: bytes = reply[1]
        return job_id.decode()
