"""Give back what the server says this host owns and the host itself knows nothing of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.rate_limit import RateLimitOnWire, limiter_member
from glidemq.commands.status import expect_ok


class OrphansResult(NamedTuple):
    """Ids of the jobs that wait again. Repeat with `next_cursor` until it is empty."""

    released: list[bytes]
    next_cursor: str


class RecoverOrphansCommand(Command[OrphansResult]):
    """Releases this cell's activations whose token is not `known`, and entries that its reader never handed
    on.

    No activating call of the same queue may be in flight, for its activations are not known yet. limiter: as in
    step, so that starts which did not happen are not counted.
    """

    function = "gmq_recover_orphans"
    replayable = True

    __slots__ = ("cell", "consumer", "cursor", "known", "limit", "limiter")

    def __init__(
        self,
        queue_key: str,
        *,
        consumer: str,
        cell: str,
        known: Sequence[tuple[bytes, bytes]],
        limit: int,
        cursor: str = "",
        limiter: RateLimitOnWire | None = None,
    ) -> None:
        super().__init__(queue_key)
        self.consumer = consumer
        self.cell = cell
        self.known = known
        self.limit = limit
        self.cursor = cursor
        self.limiter = limiter

    def arguments(self) -> bytes:
        return pack(
            {
                "v": CALL_VERSION,
                "consumer": self.consumer,
                "cell": self.cell,
                "known": self.known,
                "cursor": self.cursor,
                "limit": self.limit,
                "limiter": limiter_member(self.limiter),
            }
        )

    def parse_reply(self, reply: list[Any]) -> OrphansResult:
        expect_ok(self.function, reply)
        return OrphansResult(reply[1], reply[2].decode())
