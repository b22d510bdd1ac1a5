"""Find jobs by state and name, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.get_jobs import LISTABLE_STATES
from glidemq.commands.job_fields import JobFields, job_fields
from glidemq.commands.status import expect_ok
from glidemq.errors import ValidationError

SEARCHABLE_STATES = (*LISTABLE_STATES, "group-waiting")


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Some of the jobs that were found, and the command that searches on; None at the end."""

    jobs: Sequence[JobFields]
    following: SearchJobsCommand | None


class SearchJobsCommand(Command[SearchPage]):
    """The jobs in exactly this state, or in any; with exactly this name, or with any.

    A call looks at about a thousand jobs and may find none of them: execute `following` until there is none. Jobs
    that move meanwhile may be seen twice or not at all.
    """

    function = "gmq_search_jobs"
    replayable = True

    __slots__ = ("exclude_data", "name", "resume", "state")

    def __init__(
        self,
        queue_key: str,
        *,
        state: str | None = None,
        name: str | None = None,
        exclude_data: bool = False,
        resume: list[Any] | None = None,
    ) -> None:
        super().__init__(queue_key)
        if state is not None and state not in SEARCHABLE_STATES:
            states = ", ".join(SEARCHABLE_STATES)
            raise ValidationError(f"jobs can be searched by state {states}, not {state!r}")
        self.state = state
        self.name = name
        self.exclude_data = exclude_data
        self.resume = resume

    def arguments(self) -> bytes:
        return pack(
            {
                "v": 1,
                "state": self.state or False,
                "name": self.name or False,
                "exclude_data": self.exclude_data,
                "resume": self.resume or False,
            }
        )

    def parse_reply(self, reply: list[Any]) -> SearchPage:
        expect_ok(self.function, reply)
        _, jobs, resume = reply
        following = None
        if resume:
            following = SearchJobsCommand(
                self.queue_key,
                state=self.state,
                name=self.name,
                exclude_data=self.exclude_data,
                resume=resume,
            )
        return SearchPage([job_fields(flat) for flat in jobs], following)
