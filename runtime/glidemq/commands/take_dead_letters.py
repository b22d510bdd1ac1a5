"""Read the outbox of dead letters."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class Letter(NamedTuple):
    """A job that has failed for good, on its way to the queue `to`.

    attempts: made before the run that failed, as Node counts. error: the exception's name, empty for other ends.
    """

    entry_id: bytes
    to: bytes
    job_id: bytes
    name: bytes
    data: bytes
    opts: bytes
    reason: bytes
    attempts: bytes
    error: bytes
    failed_at_ms: bytes


class Letters(NamedTuple):
    """The oldest letters, and when the server gave them out.

    configured: whether the queue has a dead letter queue now. busy_ms: somebody else carries the letters, for so long
    at most. lost: how many the outbox had no room for, ever.
    """

    now_ms: int
    configured: bool
    letters: list[Letter]
    lost: int
    busy_ms: int = 0


class TakeDeadLettersCommand(Command[Letters]):
    """Reads up to `limit` letters, about 1 MiB of them; for `lease_ms` the others leave them to this `token`."""

    function = "gmq_take_dead_letters"
    replayable = True

    __slots__ = ("lease_ms", "limit", "token")

    def __init__(self, queue_key: str, *, token: str, lease_ms: int, limit: int) -> None:
        super().__init__(queue_key)
        self.token = token
        self.lease_ms = lease_ms
        self.limit = limit

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "token": self.token, "lease_ms": self.lease_ms, "limit": self.limit})

    def parse_reply(self, reply: list[Any]) -> Letters:
        if reply[0] == b"busy":
            return Letters(0, True, [], 0, reply[1])
        expect_ok(self.function, reply)
        _, now_ms, name, letters, lost = reply
        return Letters(now_ms, bool(name), [Letter._make(letter) for letter in letters], lost)
