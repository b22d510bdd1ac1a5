"""Delete finished jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import status_of, unexpected
from glidemq.errors import ValidationError

CLEANABLE_STATES = ("completed", "failed")


@dataclass(frozen=True, slots=True)
class Cleaning:
    """The ids of the jobs that a round deleted, and the command for the next round; None at the end."""

    ids: list[str]
    following: CleanCommand | None


class CleanCommand(Command[Cleaning]):
    """Deletes at most `limit` jobs that completed or failed `grace_ms` ago or earlier, oldest first.

    Works in rounds: execute `following` until there is none.
    """

    function = "gmq_clean"

    __slots__ = ("before", "cleaned", "grace_ms", "limit", "state")

    def __init__(
        self,
        queue_key: str,
        *,
        state: str,
        grace_ms: int,
        limit: int,
        before: int | None = None,
        cleaned: int = 0,
    ) -> None:
        super().__init__(queue_key)
        if state not in CLEANABLE_STATES:
            raise ValidationError(
                f"jobs can be cleaned by state {' or '.join(CLEANABLE_STATES)}, not {state!r}"
            )
        if grace_ms < 0:
            raise ValidationError("grace must be >= 0")
        self.state = state
        self.grace_ms = grace_ms
        self.limit = limit
        self.before = before
        self.cleaned = cleaned

    def arguments(self) -> bytes:
        return pack(
            {
                "v": 1,
                "state": self.state,
                "grace_ms": self.grace_ms,
                "limit": self.limit,
                "before": False if self.before is None else self.before,
                "cleaned": self.cleaned,
            }
        )

    def parse_reply(self, reply: list[Any]) -> Cleaning:
        status = status_of(reply)
        if status not in ("more", "done"):
            raise unexpected(self.function, reply)
        _, raw_ids, before, cleaned = reply
        ids = [job_id.decode() for job_id in raw_ids]
        if status == "done":
            return Cleaning(ids, None)
        following = CleanCommand(
            self.queue_key,
            state=self.state,
            grace_ms=self.grace_ms,
            limit=self.limit,
            before=before,
            cleaned=cleaned,
        )
        return Cleaning(ids, following)
