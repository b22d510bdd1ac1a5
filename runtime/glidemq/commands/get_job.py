"""Read one job."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.job_fields import JobFields, job_fields
from glidemq.commands.status import expect_job


class GetJobCommand(Command[JobFields | None]):
    """One job's fields, raw; None when it does not exist. Without its payload if `exclude_data`."""

    function = "gmq_get_job"
    replayable = True

    __slots__ = ("exclude_data", "job_id")

    def __init__(self, queue_key: str, *, job_id: str, exclude_data: bool = False) -> None:
        super().__init__(queue_key)
        self.job_id = job_id
        self.exclude_data = exclude_data

    def arguments(self) -> bytes:
        return pack({"v": 1, "id": self.job_id, "exclude_data": self.exclude_data})

    def parse_reply(self, reply: list[Any]) -> JobFields | None:
        return job_fields(reply[1]) if expect_job(self.function, reply) else None
