"""Append to a job's log."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.size_limit import check_size
from glidemq.commands.status import expect_job


class AddLogCommand(Command[int | None]):
    """Appends one line; returns the number of lines, or None when the job does not exist.

    Raises ValidationError, when built, for a line above 1 MiB.
    """

    function = "gmq_add_log"

    __slots__ = ("job_id", "line")

    def __init__(self, queue_key: str, *, job_id: str, line: str) -> None:
        super().__init__(queue_key)
        self.job_id = job_id
        self.line = line.encode()
        check_size("Log message", self.line)

    def arguments(self) -> bytes:
        return pack({"v": 1, "id": self.job_id, "line": self.line})

    def parse_reply(self, reply: list[Any]) -> int | None:
        return int(reply[1]) if expect_job(self.function, reply) else None
