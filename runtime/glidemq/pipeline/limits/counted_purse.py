"""Scope "queue": every start is counted in the queue's window on the server, within the call that starts it."""

from __future__ import annotations

from glidemq.clock import monotonic_ns
from glidemq.commands.token_allowance import TokensDealt
from glidemq.pipeline.limits.purse import Draw, Purse, TokenLimit, in_ms
from glidemq.pipeline.limits.waiting_room import Wake


class CountedPurse(Purse):
    """Holds nothing: it remembers only that the window is used up, and what the next call has to settle."""

    def __init__(self, limit: TokenLimit) -> None:
        super().__init__(limit)
        self._closed_until_ns = 0
        self._left = 0
        self._overrun = 0
        self._refund = 0
        self._refund_window = 0

    def has(self, least: int, batch: int, wake: Wake) -> bool:
        """Whether the server may have some: it said nothing else, or that was a while ago."""
        wait_ns = self._closed_until_ns - monotonic_ns()
        if wait_ns <= 0:
            return True
        self.room.admit(wake, wait_ns)
        return False

    @property
    def has_plenty(self) -> bool:
        """Whether at least half of the window was free after the last call."""
        return 2 * self._left >= self.limit.max_tokens

    def draw(self, wanted: int) -> Draw:
        """The server knows what is left."""
        draw = Draw(None, None, self._overrun, self._refund, self._refund_window)
        self._overrun = self._refund = 0
        return draw

    def dealt(self, draw: Draw, dealt: TokensDealt, reserved: int) -> int:
        """When one job did not fit, the queue waits until others have settled, or the window ends."""
        self._left = dealt.left
        if dealt.short:
            self._closed_until_ns = in_ms(min(self.limit.patience_ms, dealt.ends_in_ms + 1))
        return dealt.window

    def lost(self, draw: Draw) -> None:
        """An overrun is counted again rather than forgotten."""
        self._overrun += draw.overrun

    def refund(self, window: int, tokens: int) -> None:
        """The next call takes it off its window, unless a later one has begun."""
        if window > self._refund_window:
            self._refund_window, self._refund = window, 0
        if window == self._refund_window:
            self._refund += tokens
            self._closed_until_ns = 0
            self.room.wake_all()

    def overrun(self, tokens: int) -> None:
        """The next call counts it."""
        self._overrun += tokens
