"""Start the messages that a subscription was delivered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok
from glidemq.commands.step import Activation


class TakenDeliveries(NamedTuple):
    """What was started; `held` entries are to be given again.

    look_again_ms: when, epoch ms by the server's clock; -1: any time, the broadcast is paused. recovered: (id, what)
    of messages whose worker fell silent: stalled or failed.
    """

    now_ms: int
    activations: list[Activation]
    held: list[bytes]
    look_again_ms: int
    recovered: list[tuple[bytes, str]]


class TakeDeliveriesCommand(Command[TakenDeliveries]):
    """Starts `claimed` entries, acknowledges `skipped` ones, and takes over up to `limit` that were idle for
    `stale_ms`, save for those of the caller's own that are `in_hand`.

    run: unique per call; the n-th activation gets the token `<run>.<n>`. A lost reply leaves runs that nobody knows of:
    they are taken over like those of a dead worker.
    """

    function = "gmq_take_deliveries"

    __slots__ = (
        "claimed", "consumer", "events", "in_hand", "limit", "max_stalled", "metrics", "run", "skipped", "stale_ms",
        "subscription",
    )  # fmt: skip

    def __init__(
        self,
        queue_key: str,
        *,
        consumer: str,
        subscription: str,
        run: str,
        claimed: Sequence[bytes] = (),
        skipped: Sequence[bytes] = (),
        in_hand: Sequence[bytes] = (),
        stale_ms: int = 0,
        max_stalled: int = 1,
        limit: int = 0,
        events: bool = True,
        metrics: bool = True,
    ) -> None:
        super().__init__(queue_key)
        self.consumer = consumer
        self.subscription = subscription
        self.run = run
        self.claimed = claimed
        self.skipped = skipped
        self.in_hand = in_hand
        self.stale_ms = stale_ms
        self.max_stalled = max_stalled
        self.limit = limit
        self.events = events
        self.metrics = metrics

    def arguments(self) -> bytes:
        return pack(
            {
                "v": 1,
                "consumer": self.consumer,
                "subscription": self.subscription,
                "run": self.run,
                "claimed": list(self.claimed),
                "skipped": list(self.skipped),
                "in_hand": list(self.in_hand),
                "stale_ms": self.stale_ms,
                "max_stalled": self.max_stalled,
                "limit": self.limit,
                "events": self.events,
                "metrics": self.metrics,
            }
        )

    def parse_reply(self, reply: list[Any]) -> TakenDeliveries:
        expect_ok(self.function, reply)
        _, now_ms, activations, held, look_again_ms, recovered = reply
        return TakenDeliveries(
            now_ms,
            [Activation._make(activation) for activation in activations],
            held,
            look_again_ms,
            [(job_id, what.decode()) for job_id, what in recovered],
        )
