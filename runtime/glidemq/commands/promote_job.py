"""Let a delayed job wait no longer."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.refusal import refusal
from glidemq.commands.status import expect_ok, status_of


class PromoteJobCommand(Command[None]):
    """Makes a delayed job ready now.

    Raises JobNotFoundError or JobStateError (`Cannot promote: …`) for any other job; nothing was changed then.
    """

    function = "gmq_promote_job"

    __slots__ = ("job_id",)

    def __init__(self, queue_key: str, *, job_id: str) -> None:
        super().__init__(queue_key)
        self.job_id = job_id

    def arguments(self) -> bytes:
        return pack({"v": 1, "id": self.job_id})

    def parse_reply(self, reply: list[Any]) -> None:
        refused = refusal("promote", status_of(reply))
        if refused is not None:
            raise refused
        expect_ok(self.function, reply)
