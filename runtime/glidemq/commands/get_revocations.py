"""Which running jobs were revoked lately."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class RevocationNews(NamedTuple):
    """The ids of the jobs, oldest revocation first; the next question is about the time from `now_ms` on."""

    now_ms: int
    ids: list[bytes]


class GetRevocationsCommand(Command[RevocationNews]):
    """Running jobs that were revoked since `since_ms` (epoch ms), as far as that was in the last minute."""

    function = "gmq_get_revocations"
    replayable = True

    __slots__ = ("since_ms",)

    def __init__(self, queue_key: str, *, since_ms: int) -> None:
        super().__init__(queue_key)
        self.since_ms = since_ms

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "since_ms": self.since_ms})

    def parse_reply(self, reply: list[Any]) -> RevocationNews:
        expect_ok(self.function, reply)
        return RevocationNews(reply[1], reply[2])
