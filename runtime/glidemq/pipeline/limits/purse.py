"""Tokens that jobs may be started with: what the gates of the queues that share a limit draw from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from glidemq.clock import monotonic_ns
from glidemq.commands.token_allowance import TokensDealt
from glidemq.pipeline.limits.waiting_room import WaitingRoom, Wake

# How soon to look whether others have returned tokens: a twentieth of the window, within bounds.
LOOKS_PER_WINDOW = 20
SHORTEST_WAIT_MS, LONGEST_WAIT_MS = 50, 1000


class TokenLimit(NamedTuple):
    """So many tokens per window of so many milliseconds."""

    max_tokens: int
    window_ms: int

    @property
    def patience_ms(self) -> int:
        """Milliseconds until it is worth asking again, within a window, for tokens that there were not."""
        return min(max(self.window_ms // LOOKS_PER_WINDOW, SHORTEST_WAIT_MS), LONGEST_WAIT_MS)


class Draw(NamedTuple):
    """Tokens taken out of a purse for one call.

    left: how many, in window number `window`; left None: the call counts them on the server, window None: the server
    need not know the window. overrun, refund, refund_window: what the call has to settle.
    """

    left: int | None
    window: int | None
    overrun: int = 0
    refund: int = 0
    refund_window: int = 0


class Purse(ABC):
    """The tokens of one limit, as this host may spend them now.

    Written by: the gates that draw from it. Wakes those that it had to turn away, once it may be worth their while.
    """

    def __init__(self, limit: TokenLimit) -> None:
        self.limit = limit
        self.room = WaitingRoom()

    @abstractmethod
    def has(self, least: int, batch: int, wake: Wake) -> bool:
        """Whether there are `least` tokens for one job; `batch` would fill all slots. If not, `wake` is called."""

    @property
    @abstractmethod
    def has_plenty(self) -> bool:
        """Whether at least half of the window is free, as far as is known here."""

    @abstractmethod
    def draw(self, wanted: int) -> Draw:
        """Take out up to `wanted` tokens."""

    @abstractmethod
    def dealt(self, draw: Draw, dealt: TokensDealt, reserved: int) -> int:
        """A call has reserved so many of what was drawn; the rest comes back. Returns the window it was counted in."""

    @abstractmethod
    def lost(self, draw: Draw) -> None:
        """Nobody knows what a call did: what was drawn counts as spent."""

    @abstractmethod
    def refund(self, window: int, tokens: int) -> None:
        """A job that was started in `window` needed fewer than were reserved."""

    @abstractmethod
    def overrun(self, tokens: int) -> None:
        """A job has used more than it was estimated to use: they count in the present window."""

    async def close(self) -> None:
        """Give back what was not spent, so that others may."""
        self.room.close()


def in_ms(milliseconds: float) -> int:
    """The monotonic time in so many milliseconds, in ns."""
    return monotonic_ns() + int(milliseconds * 1_000_000)
