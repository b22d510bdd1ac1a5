"""Replace a job's payload."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.size_limit import check_size
from glidemq.commands.status import expect_job


class UpdateDataCommand(Command[bool]):
    """Stores new data, already serialized; False when the job does not exist.

    Raises ValidationError, when built, for data above 1 MiB.
    """

    function = "gmq_update_data"
    replayable = True

    __slots__ = ("data", "job_id")

    def __init__(self, queue_key: str, *, job_id: str, data: bytes) -> None:
        super().__init__(queue_key)
        check_size("Job data", data)
        self.job_id = job_id
        self.data = data

    def arguments(self) -> bytes:
        return pack({"v": 1, "id": self.job_id, "data": self.data})

    def parse_reply(self, reply: list[Any]) -> bool:
        return expect_job(self.function, reply)
