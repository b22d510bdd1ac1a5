"""Take jobs from hosts that stopped renewing their leases."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class StalledResult(NamedTuple):
    """(id, what happened) of the jobs taken. Repeat with `next_cursor` until it is empty.

    What: "stalled" (it waits again, its stall was counted), "failed" (stalled too often), "expired",
    "returned" (delivered but never started: it waits again), "dropped" (nothing was left to run).
    shortest_live_lock_ms: of the live jobs looked at, and of those that run with a lock of their own as far as the
    queue knows; -1 if there are none.
    """

    now_ms: int
    recovered: list[tuple[bytes, str]]
    next_cursor: str
    shortest_live_lock_ms: int


class RecoverStalledCommand(Command[StalledResult]):
    """Looks at a page of the queue's jobs in hand; those without a heartbeat within their lock wait again.

    A job's lock is its own lock duration, else `lock_ms`. `stalled_ms` applies to entries that were
    delivered and not started. A call that the server executes later than `not_after_ms`, by its own clock,
    judges nobody: its result is empty but for the shortest lock, and `now_ms` shows it.
    """

    function = "gmq_recover_stalled"
    replayable = True

    __slots__ = (
        "cell", "consumer", "cursor", "events", "limit", "lock_ms", "max_stalled", "metrics", "not_after_ms",
        "stalled_ms",
    )  # fmt: skip

    def __init__(
        self,
        queue_key: str,
        *,
        consumer: str,
        cell: str,
        stalled_ms: int,
        lock_ms: int,
        max_stalled: int,
        limit: int,
        cursor: str = "",
        not_after_ms: int | None = None,
        events: bool = True,
        metrics: bool = True,
    ) -> None:
        super().__init__(queue_key)
        self.consumer = consumer
        self.cell = cell
        self.stalled_ms = stalled_ms
        self.lock_ms = lock_ms
        self.max_stalled = max_stalled
        self.limit = limit
        self.not_after_ms = not_after_ms
        self.cursor = cursor
        self.events = events
        self.metrics = metrics

    def arguments(self) -> bytes:
        bound = {} if self.not_after_ms is None else {"not_after": self.not_after_ms}
        return pack(
            {
                **bound,
                "v": CALL_VERSION,
                "consumer": self.consumer,
                "cell": self.cell,
                "stalled_ms": self.stalled_ms,
                "lock_ms": self.lock_ms,
                "max_stalled": self.max_stalled,
                "limit": self.limit,
                "cursor": self.cursor,
                "events": self.events,
                "metrics": self.metrics,
            }
        )

    def parse_reply(self, reply: list[Any]) -> StalledResult:
        expect_ok(self.function, reply)
        _, now_ms, recovered, next_cursor, shortest = reply
        return StalledResult(
            now_ms, [(id_, what.decode()) for id_, what in recovered], next_cursor.decode(), shortest
        )
