"""Delete one job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_job


@dataclass(frozen=True, slots=True)
class Removal:
    """Whether there was such a job, and the command that goes on looking for its stream entry, if need be."""

    existed: bool
    following: RemoveCommand | None = None


class RemoveCommand(Command[Removal]):
    """Deletes a job in any state with all that belongs to it; whoever runs it learns that it is gone.

    The first call deletes the job. In a long queue its stream entry may need more calls to be found: execute
    `following` until there is none. An entry that stays behind is harmless to workers of this library.
    """

    function = "gmq_remove"

    __slots__ = ("job_id", "resume")

    def __init__(self, queue_key: str, *, job_id: str, resume: list[Any] | None = None) -> None:
        super().__init__(queue_key)
        self.job_id = job_id
        self.resume = resume

    def arguments(self) -> bytes:
        return pack({"v": 1, "id": self.job_id, "resume": self.resume or False})

    def parse_reply(self, reply: list[Any]) -> Removal:
        if not expect_job(self.function, reply):
            return Removal(existed=False)
        resume = reply[1]
        if not resume:
            return Removal(existed=True)
        return Removal(True, RemoveCommand(self.queue_key, job_id=self.job_id, resume=resume))
