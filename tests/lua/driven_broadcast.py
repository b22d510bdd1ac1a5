"""A broadcast driven through the server library with a clock that only the test moves."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from tests.lua.driven_queue import DrivenQueue, Started, read_activation


class Taken(NamedTuple):
    """A reply of take_deliveries, texts decoded."""

    started: list[Started]
    held: list[str]
    look_again_ms: int
    recovered: list[tuple[str, str]]


class DrivenBroadcast:
    """Two subscriptions, `s1` and `s2`, from the beginning; deliveries are read as a worker's reader reads them."""

    def __init__(self, queue: DrivenQueue) -> None:
        self.queue = queue
        self._runs = itertools.count(1)
        for subscription in ("s1", "s2"):
            assert self.subscribe(subscription) == [b"ok"]

    def subscribe(self, subscription: str, start_from: str = "0-0", consumer: str = "w") -> list[Any]:
        return self.queue.call(
            "subscribe",
            consumer=consumer,
            subscription=subscription,
            start_from=start_from,
            info_json="{}",
            ttl_ms=30_000,
        )

    def read(self, subscription: str = "s1", consumer: str = "w", count: int = 100) -> list[str]:
        """The entry ids that a reader is given."""
        reply = self.queue.client.xreadgroup(
            subscription, consumer, {self.queue.key("stream"): ">"}, count=count
        )
        return [entry.decode() for entry, _ in reply[0][1]] if reply else []

    def take(
        self, claimed: list[str], subscription: str = "s1", consumer: str = "w", **arguments: Any
    ) -> Taken:
        defaults: dict[str, Any] = {
            "skipped": [],
            "in_hand": [],
            "stale_ms": 0,
            "max_stalled": 1,
            "limit": 100,
        }
        reply = self.queue.call(
            "take_deliveries",
            consumer=consumer,
            subscription=subscription,
            run=f"run{next(self._runs)}",
            claimed=claimed,
            **{**defaults, **arguments},
        )
        assert reply[0] == b"ok", reply
        started = [read_activation(row) for row in reply[2]]
        recovered = [(job_id.decode(), what.decode()) for job_id, what in reply[5]]
        return Taken(started, [entry.decode() for entry in reply[3]], reply[4], recovered)

    def start_all(self, subscription: str = "s1", consumer: str = "w") -> list[Started]:
        return self.take(self.read(subscription, consumer), subscription, consumer).started

    def complete(self, *runs: Started, subscription: str = "s1", value: str = "1") -> list[int]:
        rows = [[*run.fence, run.entry_id, value, False] for run in runs]
        reply = self.queue.call("finish_deliveries", subscription=subscription, completed=rows, failed=[])
        codes: list[int] = reply[2]
        return codes

    def fail(
        self, *runs: Started, subscription: str = "s1", max_attempts: int = 0, delay: int = 0
    ) -> list[list[int]]:
        rows = [[*run.fence, run.entry_id, "boom", max_attempts, delay, False] for run in runs]
        reply = self.queue.call("finish_deliveries", subscription=subscription, completed=[], failed=rows)
        outcomes: list[list[int]] = reply[3]
        return outcomes

    def pending(self, subscription: str = "s1") -> list[str]:
        rows = self.queue.client.xpending_range(self.queue.key("stream"), subscription, "-", "+", 1000)
        return [row["message_id"].decode() for row in rows]

    def own(self, job_id: str, subscription: str = "s1") -> dict[str, str]:
        """What the subscription alone knows of a message."""
        stored = self.queue.client.hgetall(self.queue.key(f"job:{job_id}:sub:{subscription}"))
        return {name.decode(): value.decode() for name, value in stored.items()}
