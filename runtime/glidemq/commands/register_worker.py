"""Announce a worker."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok
from glidemq.options.dead_letter_queue import DeadLetterQueueOnWire


class RegisterWorkerCommand(Command[None]):
    """Keeps a worker in the queue's registry for `ttl_ms`, and creates the consumer groups of its reads.

    `info_json` is what dashboards show: a JSON object with a text `addr` and the numbers `pid`, `startedAt`
    (epoch ms) and `activeJobs`. Node tools ignore a worker without the first three. `dead_letters` is the dead letter
    queue that the worker names; None leaves that alone.
    """

    function = "gmq_register_worker"
    replayable = True

    __slots__ = ("consumer", "dead_letters", "info_json", "ttl_ms")

    def __init__(
        self,
        queue_key: str,
        *,
        consumer: str,
        info_json: bytes,
        ttl_ms: int,
        dead_letters: DeadLetterQueueOnWire | None = None,
    ) -> None:
        super().__init__(queue_key)
        self.consumer = consumer
        self.info_json = info_json
        self.ttl_ms = ttl_ms
        self.dead_letters = dead_letters

    def arguments(self) -> bytes:
        return pack(
            {
                "v": 1,
                "consumer": self.consumer,
                "info_json": self.info_json,
                "ttl_ms": self.ttl_ms,
                "dead_letters": self.dead_letters or False,
            },
        )

    def parse_reply(self, reply: list[Any]) -> None:
        expect_ok(self.function, reply)
