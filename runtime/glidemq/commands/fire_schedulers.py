"""One tick of a queue's schedulers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok, status_of

CANNOT_TELL: Final = -1


class DueSlot(NamedTuple):
    """The due slot of a cron scheduler, which fires once it is known which one follows. Texts as stored."""

    name: bytes
    next_run_ms: int
    pattern: bytes
    tz: bytes | Literal[False]

    def followed_by(self, following_ms: int | None) -> FollowedSlot:
        """With the slot after the tick's time; None: there will never be one; CANNOT_TELL: not known here."""
        return FollowedSlot(*self, False if following_ms is None else following_ms)


class FollowedSlot(NamedTuple):
    """A due slot and the epoch ms of the next one, False for none, CANNOT_TELL."""

    name: bytes
    next_run_ms: int
    pattern: bytes
    tz: bytes | Literal[False]
    following_ms: int | Literal[False]


class SchedulerTick(NamedTuple):
    """What a tick did. Times are the server's, in epoch ms.

    fired: (scheduler, job id). wanted: slots that fire with the next call, which must say what follows them.
    refused: schedulers whose template is too large for a job. next_look_ms: when to tick again, -1 without
    schedulers. busy_ms: not None when somebody else holds the lock, for at most so long; nothing was done then.
    """

    now_ms: int
    fired: list[tuple[bytes, bytes]]
    wanted: list[DueSlot]
    refused: list[bytes]
    next_look_ms: int
    busy_ms: int | None = None


class FireSchedulersCommand(Command[SchedulerTick]):
    """Adds the jobs of due schedulers, at most `limit` of them, each slot once however many hosts tick.

    token: 16 hex digits of the caller. lock_ms: how long others leave the schedulers to the caller while the
    slots in `wanted` are outstanding; every call renews it.
    """

    function = "gmq_fire_schedulers"
    replayable = True

    __slots__ = ("following", "limit", "lock_ms", "token")

    def __init__(
        self,
        queue_key: str,
        *,
        token: str,
        lock_ms: int,
        limit: int,
        following: Sequence[FollowedSlot] = (),
    ) -> None:
        super().__init__(queue_key)
        self.token = token
        self.lock_ms = lock_ms
        self.limit = limit
        self.following = following

    def arguments(self) -> bytes:
        return pack(
            {
                "v": CALL_VERSION,
                "token": self.token,
                "lock_ms": self.lock_ms,
                "limit": self.limit,
                "following": self.following,
            }
        )

    def parse_reply(self, reply: list[Any]) -> SchedulerTick:
        if status_of(reply) == "busy":
            _, now_ms, busy_ms = reply
            return SchedulerTick(now_ms, [], [], [], -1, busy_ms)
        expect_ok(self.function, reply)
        _, now_ms, fired, wanted, refused, next_look_ms = reply
        return SchedulerTick(
            now_ms, [(name, job_id) for name, job_id in fired], [DueSlot(*row) for row in wanted], refused,
            next_look_ms,
        )  # fmt: skip
