"""Read a job's log, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.index_range import check_range
from glidemq.commands.status import expect_ok


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some of the lines asked for, the length of the whole log, and what reads on; None at the end."""

    lines: Sequence[str]
    count: int
    following: GetLogsCommand | None


class GetLogsCommand(Command[LogPage]):
    """The lines start..end of a job's log, both inclusive; negative positions count from the end.

    A reply holds at most 1,000 lines or about 1 MiB. A job without a log, or no job at all, gives no lines.
    """

    function = "gmq_get_logs"
    replayable = True

    __slots__ = ("end", "job_id", "start")

    def __init__(self, queue_key: str, *, job_id: str, start: int = 0, end: int = -1) -> None:
        super().__init__(queue_key)
        check_range(start, end)
        self.job_id = job_id
        self.start = start
        self.end = end

    def arguments(self) -> bytes:
        return pack({"v": 1, "id": self.job_id, "start": self.start, "end": self.end})

    def parse_reply(self, reply: list[Any]) -> LogPage:
        expect_ok(self.function, reply)
        _, lines, count, next_start, end = reply
        following = None
        if next_start >= 0:
            following = GetLogsCommand(self.queue_key, job_id=self.job_id, start=next_start, end=end)
        return LogPage([line.decode("utf-8", "replace") for line in lines], count, following)
