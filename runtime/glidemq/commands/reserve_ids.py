"""Reserve ids for jobs that will be added under them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import status_of, unexpected
from glidemq.errors import ServerError

# The server's own limit, automatic and custom ids together.
MAX_IDS_PER_CALL = 10_000


class ReservedIds(NamedTuple):
    """As many automatic ids as wanted; or none, since `taken`, one of the custom ones, belongs to a job."""

    ids: list[str]
    taken: str | None = None


class ReserveIdsCommand(Command[ReservedIds]):
    """Reserves `count` automatic ids, and looks whether the `custom` ones are free. Adds nothing."""

    function = "gmq_reserve_ids"
    replayable = True  # ids that were reserved in vain are skipped, that is all

    __slots__ = ("count", "custom")

    def __init__(self, queue_key: str, *, count: int, custom: Sequence[str] = ()) -> None:
        super().__init__(queue_key)
        self.count = count
        self.custom = custom

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "count": self.count, "custom": list(self.custom)})

    def parse_reply(self, reply: list[Any]) -> ReservedIds:
        status = status_of(reply)
        if status == "ok":
            return ReservedIds([job_id.decode() for job_id in reply[1]])
        if status == "duplicate":
            return ReservedIds([], reply[1].decode())
        if status == "id_exhausted":
            raise ServerError("Failed to generate job ID: too many collisions with custom job IDs")
        raise unexpected(self.function, reply)
