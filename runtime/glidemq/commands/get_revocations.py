"""Which running jobs were revoked lately."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok

# How many jobs of the caller's own one call looks at.
MOST_RUNNING: Final = 1000


class RevocationNews(NamedTuple):
    """The ids of the jobs, some perhaps twice; the next question is about the time from `now_ms` on."""

    now_ms: int
    ids: list[bytes]


class GetRevocationsCommand(Command[RevocationNews]):
    """Running jobs that were revoked since `since_ms` (epoch ms), as far as that was in the last minute.

    running: jobs whose own mark is looked at, whoever set it and when; at most `MOST_RUNNING`.
    """

    function = "gmq_get_revocations"
    replayable = True

    __slots__ = ("running", "since_ms")

    def __init__(self, queue_key: str, *, since_ms: int, running: Sequence[bytes] = ()) -> None:
        super().__init__(queue_key)
        self.since_ms = since_ms
        self.running = running

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "since_ms": self.since_ms, "running": self.running})

    def parse_reply(self, reply: list[Any]) -> RevocationNews:
        expect_ok(self.function, reply)
        return RevocationNews(reply[1], reply[2])
