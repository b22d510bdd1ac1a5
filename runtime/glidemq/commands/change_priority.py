"""Give a job that has not started another priority."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.refusal import refusal
from glidemq.commands.status import status_of, unexpected
from glidemq.errors import ValidationError

MAX_PRIORITY = 2048


@dataclass(frozen=True, slots=True)
class PriorityChange:
    """Whether the job's priority was changed, and the command that goes on looking for the job, if need be."""

    changed: bool
    following: ChangePriorityCommand | None = None


class ChangePriorityCommand(Command[PriorityChange]):
    """Sets the priority, 0..2048, of a waiting, delayed or prioritized job; 0 is none.

    In a long queue a waiting job may need more calls to be found: execute `following` until there is none;
    nothing has changed before. Raises JobNotFoundError or JobStateError (`Cannot change priority: …`).
    """

    function = "gmq_change_priority"
    replayable = True

    __slots__ = ("job_id", "priority", "resume")

    def __init__(
        self, queue_key: str, *, job_id: str, priority: int, resume: list[Any] | None = None
    ) -> None:
        super().__init__(queue_key)
        if priority < 0:
            raise ValidationError("Priority must be >= 0")
        if priority > MAX_PRIORITY:
            raise ValidationError(f"Priority must be <= {MAX_PRIORITY}")
        self.job_id = job_id
        self.priority = priority
        self.resume = resume

    def arguments(self) -> bytes:
        return pack({"v": 1, "id": self.job_id, "priority": self.priority, "resume": self.resume or False})

    def parse_reply(self, reply: list[Any]) -> PriorityChange:
        status = status_of(reply)
        if status in ("ok", "no_op"):
            return PriorityChange(changed=status == "ok")
        if status == "more":
            following = ChangePriorityCommand(
                self.queue_key, job_id=self.job_id, priority=self.priority, resume=reply[1]
            )
            return PriorityChange(changed=False, following=following)
        raise refusal("change priority", status) or unexpected(self.function, reply)
