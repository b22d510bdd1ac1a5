"""Scope "worker": every host has the whole limit for itself, counted in its memory."""

from __future__ import annotations

from collections.abc import Callable

from glidemq.clock import wall_ms
from glidemq.commands.token_allowance import TokensDealt
from glidemq.pipeline.limits.purse import Draw, Purse, TokenLimit
from glidemq.pipeline.limits.waiting_room import Wake


class WorkerPurse(Purse):
    """One host's own window, by its own clock."""

    def __init__(self, limit: TokenLimit, now_ms: Callable[[], int] = wall_ms) -> None:
        super().__init__(limit)
        self._now_ms = now_ms
        self._window = 0
        self._used = 0

    def _turn_page(self) -> int:
        """Begin a new window if it is time; the milliseconds that are left of the present one."""
        window, elapsed_ms = divmod(self._now_ms(), self.limit.window_ms)
        if window != self._window:
            self._window, self._used = window, 0
        return self.limit.window_ms - elapsed_ms

    def has(self, least: int, batch: int, wake: Wake) -> bool:
        """Whether the window has so many left; if not, the next one will."""
        left_ms = self._turn_page()
        if self.limit.max_tokens - self._used >= min(least, self.limit.max_tokens):
            return True
        self.room.admit(wake, (left_ms + 1) * 1_000_000)
        return False

    @property
    def has_plenty(self) -> bool:
        """Whether at least half of the window is free."""
        self._turn_page()
        return 2 * self._used <= self.limit.max_tokens

    def draw(self, wanted: int) -> Draw:
        """Reserve them for the call."""
        self._turn_page()
        tokens = max(min(wanted, self.limit.max_tokens - self._used), 0)
        self._used += tokens
        return Draw(tokens, self._window)

    def dealt(self, draw: Draw, dealt: TokensDealt, reserved: int) -> int:
        """What the call did not need is free again."""
        assert draw.left is not None and draw.window is not None
        self.refund(draw.window, draw.left - reserved)
        return draw.window

    def lost(self, draw: Draw) -> None:
        """What was drawn stays reserved."""

    def refund(self, window: int, tokens: int) -> None:
        """Free again, if it is still the same window."""
        self._turn_page()
        if window == self._window and tokens > 0:
            self._used -= tokens
            self.room.wake_all()

    def overrun(self, tokens: int) -> None:
        """Counts in the present window."""
        self._turn_page()
        self._used += tokens
