"""Report what became of a subscription's runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack, unpack
from glidemq.commands.status import expect_ok


class FinishedDeliveries(NamedTuple):
    """One code per completed run, and one (code, attempts made by this subscription) per failed one."""

    now_ms: int
    completed: list[int]
    failed: list[tuple[int, int]]


class FinishDeliveriesCommand(Command[FinishedDeliveries]):
    """Records completions and failures, given as packed rows of `step` and `fail`.

    A failure is counted for the subscription alone, and so is its retry. Each outcome counts once, by its token.
    """

    function = "gmq_finish_deliveries"
    replayable = True

    __slots__ = ("completed", "events", "failed", "metrics", "subscription")

    def __init__(
        self,
        queue_key: str,
        *,
        subscription: str,
        completed: Sequence[bytes] = (),
        failed: Sequence[bytes] = (),
        events: bool = True,
        metrics: bool = True,
    ) -> None:
        super().__init__(queue_key)
        self.subscription = subscription
        self.completed = completed
        self.failed = failed
        self.events = events
        self.metrics = metrics

    def arguments(self) -> bytes:
        return pack(
            {
                "v": 1,
                "subscription": self.subscription,
                "completed": [unpack(row) for row in self.completed],
                "failed": [unpack(row) for row in self.failed],
                "events": self.events,
                "metrics": self.metrics,
            }
        )

    def parse_reply(self, reply: list[Any]) -> FinishedDeliveries:
        expect_ok(self.function, reply)
        _, now_ms, completed, failed = reply
        return FinishedDeliveries(now_ms, completed, [(code, attempts) for code, attempts in failed])
