"""Run a failed job again."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.refusal import refusal
from glidemq.commands.status import expect_ok, status_of


class RetryJobCommand(Command[None]):
    """Gives a failed job all its attempts once more, at once. A revoked or expired one fails again.

    Raises JobNotFoundError or JobStateError (`Cannot retry: …`) for any other job; nothing was changed then.
    """

    function = "gmq_retry_job"

    __slots__ = ("job_id",)

    def __init__(self, queue_key: str, *, job_id: str) -> None:
        super().__init__(queue_key)
        self.job_id = job_id

    def arguments(self) -> bytes:
        return pack({"v": 1, "id": self.job_id})

    def parse_reply(self, reply: list[Any]) -> None:
        refused = refusal("retry", status_of(reply))
        if refused is not None:
            raise refused
        expect_ok(self.function, reply)
