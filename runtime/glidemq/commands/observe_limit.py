"""Note what a provider has said about a limit key."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok


class ObserveLimitCommand(Command[None]):
    """Holds everybody back for `retry_ms`, and lets `requests` and `tokens` be used in the next `reset_ms`.

    None: not said. `queue_key` is that of the limit key (`limit_meta_key`).
    """

    function = "gmq_observe_limit"
    replayable = True  # told twice, it only holds from a moment later

    __slots__ = ("_members",)

    def __init__(
        self, queue_key: str, *, retry_ms: int | None, requests: int | None, tokens: int | None, reset_ms: int
    ) -> None:
        super().__init__(queue_key)
        said = {"retry_ms": retry_ms, "requests": requests, "tokens": tokens}
        self._members = {name: False if value is None else value for name, value in said.items()}
        self._members |= {"v": 1, "reset_ms": reset_ms}

    def arguments(self) -> bytes:
        return pack(self._members)

    def parse_reply(self, reply: list[Any]) -> None:
        expect_ok(self.function, reply)
