"""Tell how far a job has come."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.size_limit import check_size
from glidemq.commands.status import expect_job


class UpdateProgressCommand(Command[bool]):
    """Stores a job's progress and tells the listeners; False when the job does not exist.

    `progress` is the text of a number or of a JSON value. Raises ValidationError, when built, above 1 MiB.
    """

    function = "gmq_update_progress"
    replayable = True  # a repetition stores the same and only repeats the event

    __slots__ = ("events", "job_id", "progress")

    def __init__(self, queue_key: str, *, job_id: str, progress: bytes, events: bool = True) -> None:
        super().__init__(queue_key)
        check_size("Progress data", progress)
        self.job_id = job_id
        self.progress = progress
        self.events = events

    def arguments(self) -> bytes:
        return pack({"v": 1, "id": self.job_id, "progress": self.progress, "events": self.events})

    def parse_reply(self, reply: list[Any]) -> bool:
        return expect_job(self.function, reply)
