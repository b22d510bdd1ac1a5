"""Run failed jobs again, many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import status_of, unexpected
from glidemq.errors import ValidationError


@dataclass(frozen=True, slots=True)
class BulkRetry:
    """How many jobs were retried so far, and the command for the next round; None at the end."""

    retried: int
    following: RetryJobsCommand | None


class RetryJobsCommand(Command[BulkRetry]):
    """Gives failed jobs all their attempts once more, oldest failure first, at most `count` of them; 0: all.

    Works in rounds: execute `following` until there is none. Jobs that fail after the first round are left.
    """

    function = "gmq_retry_jobs"

    __slots__ = ("before", "count", "retried")

    def __init__(
        self, queue_key: str, *, count: int = 0, before: int | None = None, retried: int = 0
    ) -> None:
        super().__init__(queue_key)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError("count must be a non-negative integer")
        self.count = count
        self.before = before
        self.retried = retried

    def arguments(self) -> bytes:
        before = False if self.before is None else self.before
        return pack({"v": 1, "count": self.count or False, "before": before, "retried": self.retried})

    def parse_reply(self, reply: list[Any]) -> BulkRetry:
        status = status_of(reply)
        if status == "done":
            return BulkRetry(reply[1], None)
        if status == "more":
            _, retried, before = reply
            following = RetryJobsCommand(self.queue_key, count=self.count, before=before, retried=retried)
            return BulkRetry(retried, following)
        raise unexpected(self.function, reply)
