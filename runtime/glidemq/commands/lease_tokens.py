"""Exchange the rest of a host's block of tokens for a new one."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok


class TokenBlock(NamedTuple):
    """Tokens of one window that a host may spend without asking again.

    window: its number. ends_ms: its end by the server's clock. granted: the block, 0 when there is too little left.
    free: what is left for everybody after that.
    """

    now_ms: int
    window: int
    ends_ms: int
    granted: int
    free: int


class LeaseTokensCommand(Command[TokenBlock]):
    """Takes a block of the present window's tokens from the counter at `queue_key`.

    max: tokens per window of `duration_ms`. least: what one job needs. batch: what the jobs for all free slots need.
    most: what the host expects to spend until the window ends. held: the unspent rest of a block of `window`, which
    the new one replaces. overrun: tokens used beyond estimates, to be counted now. keep: change nothing while half of
    the window is free. All of least, batch and most 0: give the block back.
    """

    function = "gmq_lease_tokens"

    __slots__ = ("_members",)

    def __init__(
        self,
        queue_key: str,
        *,
        max: int,
        duration_ms: int,
        least: int = 0,
        batch: int = 0,
        most: int = 0,
        held: int = 0,
        window: int = 0,
        overrun: int = 0,
        keep: bool = False,
    ) -> None:
        super().__init__(queue_key)
        self._members = {
            "v": 1,
            "max": max,
            "duration_ms": duration_ms,
            "least": least,
            "batch": batch,
            "most": most,
            "held": held,
            "window": window,
            "overrun": overrun,
            "keep": keep,
        }

    def arguments(self) -> bytes:
        return pack(self._members)

    def parse_reply(self, reply: list[Any]) -> TokenBlock:
        expect_ok(self.function, reply)
        return TokenBlock(*reply[1:])
