"""Let a job that has not started fall due at another time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.refusal import refusal
from glidemq.commands.status import status_of, unexpected
from glidemq.errors import ValidationError


@dataclass(frozen=True, slots=True)
class DelayChange:
    """Whether the job's delay was changed, and the command that goes on looking for the job, if need be."""

    changed: bool
    following: ChangeDelayCommand | None = None


class ChangeDelayCommand(Command[DelayChange]):
    """Lets a waiting, delayed or prioritized job fall due `delay_ms` from now; 0 ends a delay.

    In a long queue a waiting job may need more calls to be found: execute `following` until there is none;
    nothing has changed before. Raises JobNotFoundError or JobStateError (`Cannot change delay: …`).
    """

    function = "gmq_change_delay"
    replayable = True  # counted from now again, the delay is late by the time that the repetition took

    __slots__ = ("delay_ms", "job_id", "resume")

    def __init__(
        self, queue_key: str, *, job_id: str, delay_ms: int, resume: list[Any] | None = None
    ) -> None:
        super().__init__(queue_key)
        if delay_ms < 0:
            raise ValidationError("Delay must be >= 0")
        self.job_id = job_id
        self.delay_ms = delay_ms
        self.resume = resume

    def arguments(self) -> bytes:
        return pack({"v": 1, "id": self.job_id, "delay_ms": self.delay_ms, "resume": self.resume or False})

    def parse_reply(self, reply: list[Any]) -> DelayChange:
        status = status_of(reply)
        if status in ("ok", "no_op"):
            return DelayChange(changed=status == "ok")
        if status == "more":
            following = ChangeDelayCommand(
                self.queue_key, job_id=self.job_id, delay_ms=self.delay_ms, resume=reply[1]
            )
            return DelayChange(changed=False, following=following)
        if status == "invalid_delay":
            raise ValidationError("Delay must end before the year 2109")
        raise refusal("change delay", status) or unexpected(self.function, reply)
