"""The heartbeat of a subscription's messages in hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok


class ExtendDeliveriesCommand(Command[list[int]]):
    """Keeps runs from being taken over; one code per row of (job id, token, entry id).

    7 tells that the message was revoked; 3 and 4 that the run is nobody's or somebody else's by now.
    """

    function = "gmq_extend_deliveries"
    replayable = True

    __slots__ = ("consumer", "rows", "subscription")

    def __init__(
        self, queue_key: str, *, consumer: str, subscription: str, rows: Sequence[tuple[bytes, bytes, bytes]]
    ) -> None:
        super().__init__(queue_key)
        self.consumer = consumer
        self.subscription = subscription
        self.rows = rows

    def arguments(self) -> bytes:
        return pack(
            {"v": 1, "consumer": self.consumer, "subscription": self.subscription, "rows": list(self.rows)}
        )

    def parse_reply(self, reply: list[Any]) -> list[int]:
        expect_ok(self.function, reply)
        codes: list[int] = reply[1]
        return codes
