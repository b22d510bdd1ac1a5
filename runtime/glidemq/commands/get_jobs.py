"""Read the jobs of a state, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.index_range import check_range
from glidemq.commands.job_fields import JobFields, job_fields
from glidemq.commands.status import expect_ok
from glidemq.errors import ValidationError

# What get_jobs can list: the states whose jobs stand in some structure.
LISTABLE_STATES = (
    "waiting",
    "active",
    "delayed",
    "prioritized",
    "completed",
    "failed",
    "suspended",
    "waiting-children",
)


@dataclass(frozen=True, slots=True)
class JobsPage:
    """Some of the jobs asked for, and the command that reads the next ones; None at the end of the range."""

    jobs: Sequence[JobFields]
    following: GetJobsCommand | None


class GetJobsCommand(Command[JobsPage]):
    """The jobs of a state at the positions start..end, both inclusive; negative positions count from the end.

    A reply holds at most 100 jobs or about 1 MiB, and may hold none and still have a `following`: execute
    that until there is none. Jobs that move meanwhile may be seen twice or not at all.
    """

    function = "gmq_get_jobs"
    replayable = True

    __slots__ = ("end", "exclude_data", "resume", "start", "state")

    def __init__(
        self,
        queue_key: str,
        *,
        state: str,
        start: int = 0,
        end: int = -1,
        exclude_data: bool = False,
        resume: list[Any] | None = None,
    ) -> None:
        super().__init__(queue_key)
        check_range(start, end)
        if state not in LISTABLE_STATES:
            hint = (
                "; each group keeps its own: search_jobs(state='group-waiting') looks through all jobs"
                if state == "group-waiting"
                else ""
            )
            raise ValidationError(
                f"jobs can be listed by state {', '.join(LISTABLE_STATES)}, not {state!r}{hint}"
            )
        self.state = state
        self.start = start
        self.end = end
        self.exclude_data = exclude_data
        self.resume = resume

    def arguments(self) -> bytes:
        return pack(
            {
                "v": 1,
                "state": self.state,
                "start": self.start,
                "end": self.end,
                "exclude_data": self.exclude_data,
                "resume": self.resume or False,
            }
        )

    def parse_reply(self, reply: list[Any]) -> JobsPage:
        expect_ok(self.function, reply)
        _, jobs, resume = reply
        return JobsPage([job_fields(flat) for flat in jobs], self._from(resume) if resume else None)

    def _from(self, resume: list[Any]) -> GetJobsCommand:
        return GetJobsCommand(
            self.queue_key,
            state=self.state,
            start=self.start,
            end=self.end,
            exclude_data=self.exclude_data,
            resume=resume,
        )
