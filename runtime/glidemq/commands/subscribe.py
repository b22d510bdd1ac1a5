"""Announce a worker of a broadcast's subscription, and create the subscription."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok, status_of
from glidemq.errors import ValidationError


class SubscribeCommand(Command[None]):
    """Creates the subscription unless it exists, and writes the worker's registry entry with its TTL.

    Raises ValidationError when `start_from` is no entry id.
    """

    function = "gmq_subscribe"
    replayable = True

    __slots__ = ("consumer", "info_json", "start_from", "subscription", "ttl_ms")

    def __init__(
        self,
        queue_key: str,
        *,
        consumer: str,
        subscription: str,
        start_from: str,
        info_json: bytes,
        ttl_ms: int,
    ) -> None:
        super().__init__(queue_key)
        self.consumer = consumer
        self.subscription = subscription
        self.start_from = start_from
        self.info_json = info_json
        self.ttl_ms = ttl_ms

    def arguments(self) -> bytes:
        return pack(
            {
                "v": 1,
                "consumer": self.consumer,
                "subscription": self.subscription,
                "start_from": self.start_from,
                "info_json": self.info_json,
                "ttl_ms": self.ttl_ms,
            }
        )

    def parse_reply(self, reply: list[Any]) -> None:
        if status_of(reply) == "refused":
            raise ValidationError(f"start_from {self.start_from!r} is refused: {reply[1].decode()}")
        expect_ok(self.function, reply)
