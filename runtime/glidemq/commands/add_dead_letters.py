"""Bring dead letters to their queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class AddressedLetter(NamedTuple):
    """A letter as its queue takes it.

    envelope: the job's data, JSON in UTF-8. original_data: the failed job's as it was stored, where the envelope holds
    something else; else False.
    """

    entry_id: bytes
    original_id: bytes
    name: bytes
    envelope: bytes
    original_data: bytes | bool
    original_opts: bytes
    error: bytes
    reason: bytes


class AddDeadLettersCommand(Command[list[str | None] | None]):
    """Makes letters jobs of this queue, each once however often it is brought.

    source: the bare name of the queue that they are from. read_at_ms: when its server gave them out. oldest: the first
    entry of its outbox then. Returns the new jobs' ids, None for letters that had arrived before; None alone when they
    are brought too late: read them again.
    """

    function = "gmq_add_dead_letters"
    replayable = True

    __slots__ = ("letters", "oldest", "read_at_ms", "source")

    def __init__(
        self,
        queue_key: str,
        *,
        source: str,
        read_at_ms: int,
        oldest: bytes,
        letters: Sequence[AddressedLetter],
    ) -> None:
        super().__init__(queue_key)
        self.source = source
        self.read_at_ms = read_at_ms
        self.oldest = oldest
        self.letters = letters

    def arguments(self) -> bytes:
        return pack(
            {
                "v": CALL_VERSION,
                "source": self.source,
                "read_at": self.read_at_ms,
                "oldest": self.oldest,
                "letters": list(self.letters),
            }
        )

    def parse_reply(self, reply: list[Any]) -> list[str | None] | None:
        if reply[0] == b"too_late":
            return None
        expect_ok(self.function, reply)
        return [job_id.decode() if job_id else None for job_id in reply[1]]
