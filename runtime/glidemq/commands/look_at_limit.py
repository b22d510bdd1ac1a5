"""Ask what a provider has said about a limit key, and for a share of what it has left."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok


class ShareWanted(NamedTuple):
    """What a host asks for.

    batch: for all its free slots. held: the rest of its last share, which held until the epoch time `until_ms`.
    """

    batch: int
    held: int
    until_ms: int


class Share(NamedTuple):
    """What a host may use: `amount` (-1: nothing was said, so everything) in the next `lasts_ms`, until `until_ms`."""

    amount: int
    lasts_ms: int
    until_ms: int


class LimitSeen(NamedTuple):
    """What holds for a limit key now. hold_ms: nothing may start for so long."""

    hold_ms: int
    requests: Share
    tokens: Share


class LookAtLimitCommand(Command[LimitSeen]):
    """Exchanges this host's shares of the requests and tokens that are left for new ones.

    `queue_key` is that of the limit key (`limit_meta_key`).
    """

    function = "gmq_look_at_limit"

    __slots__ = ("requests", "tokens")

    def __init__(self, queue_key: str, *, requests: ShareWanted, tokens: ShareWanted) -> None:
        super().__init__(queue_key)
        self.requests = requests
        self.tokens = tokens

    def arguments(self) -> bytes:
        return pack({"v": 1, "requests": self.requests, "tokens": self.tokens})

    def parse_reply(self, reply: list[Any]) -> LimitSeen:
        expect_ok(self.function, reply)
        _, hold_ms, requests, tokens = reply
        return LimitSeen(hold_ms, Share._make(requests), Share._make(tokens))
