"""Read a dead letter for its replay."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_job


class StoredLetter(NamedTuple):
    """A letter, read at the server's `now_ms`. queue, original_id: where the job failed, None when this is no letter.

    data, opts: the failed job's, as they were stored; None when they are not known. timestamp: of its arrival.
    """

    now_ms: int
    id: str
    name: str
    queue: str | None
    original_id: str | None
    data: bytes | None
    opts: bytes | None
    timestamp: str


class ReadDeadLetterCommand(Command[StoredLetter | None]):
    """One job of a dead letter queue; None when there is none with this id."""

    function = "gmq_read_dead_letter"
    replayable = True

    __slots__ = ("job_id",)

    def __init__(self, queue_key: str, *, job_id: str) -> None:
        super().__init__(queue_key)
        self.job_id = job_id

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "id": self.job_id})

    def parse_reply(self, reply: list[Any]) -> StoredLetter | None:
        if not expect_job(self.function, reply):
            return None
        _, now_ms, (job_id, name, queue, original_id, data, opts, timestamp) = reply
        return StoredLetter(
            now_ms,
            job_id.decode(),
            name.decode(errors="replace"),
            queue.decode() if queue else None,
            original_id.decode() if original_id else None,
            data if data is not False else None,
            opts if opts is not False else None,
            timestamp.decode(),
        )
