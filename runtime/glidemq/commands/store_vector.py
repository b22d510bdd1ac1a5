"""Keep an embedding with a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_job


class StoreVectorCommand(Command[bool]):
    """Stores a vector and attributes beside a job's hash; False when there is no such job."""

    function = "gmq_store_vector"
    replayable = True

    __slots__ = ("attributes", "field", "job_id", "vector")

    def __init__(
        self, queue_key: str, *, job_id: str, field: str, vector: bytes, attributes: Mapping[str, str]
    ) -> None:
        """vector: float32 numbers in little-endian order."""
        super().__init__(queue_key)
        self.job_id = job_id
        self.field = field
        self.vector = vector
        self.attributes = attributes

    def arguments(self) -> bytes:
        return pack(
            {
                "v": 1,
                "id": self.job_id,
                "field": self.field,
                "vector": self.vector,
                "attributes": self.attributes,
            }
        )

    def parse_reply(self, reply: list[Any]) -> bool:
        return expect_job(self.function, reply)
