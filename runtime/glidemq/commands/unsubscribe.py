"""Take a worker out of a broadcast's registry; the subscription stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok


class UnsubscribeCommand(Command[None]):
    """Removes the worker's registry entry, and its name from the subscription unless messages are pending for it."""

    function = "gmq_unsubscribe"
    replayable = True

    __slots__ = ("consumer", "left", "subscription")

    def __init__(
        self,
        queue_key: str,
        *,
        consumer: str,
        subscription: str,
        left: Sequence[tuple[bytes | bool, bytes]] = (),
    ) -> None:
        """left: (job id or False, entry id) of what was claimed and is not done; others take it over uncharged."""
        super().__init__(queue_key)
        self.left = left
        self.consumer = consumer
        self.subscription = subscription

    def arguments(self) -> bytes:
        return pack(
            {"v": 1, "consumer": self.consumer, "subscription": self.subscription, "left": list(self.left)}
        )

    def parse_reply(self, reply: list[Any]) -> None:
        expect_ok(self.function, reply)
