"""Note how many tokens a run of a job has used."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_job


class ReportTokensCommand(Command[bool]):
    """Stores the number of tokens with the job, in place of an earlier one; False when the job does not exist."""

    function = "gmq_report_tokens"
    replayable = True

    __slots__ = ("job_id", "tokens")

    def __init__(self, queue_key: str, *, job_id: str, tokens: int) -> None:
        super().__init__(queue_key)
        self.job_id = job_id
        self.tokens = tokens

    def arguments(self) -> bytes:
        return pack({"v": 1, "id": self.job_id, "tokens": self.tokens})

    def parse_reply(self, reply: list[Any]) -> bool:
        return expect_job(self.function, reply)
