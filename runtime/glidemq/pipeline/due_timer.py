"""When to ask a queue again because something falls due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Due times further off than this are found by the promoter's polls.
LONGEST_TIMER_S = 60.0


class DueTimer:
    """One timer of one queue. Owns: its handle. Written by: the queue pump and its reporter."""

    def __init__(self, due: Callable[[], None]) -> None:
        self._due = due
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._closed = False

    def arm(self, next_due_ms: int, server_now_ms: int) -> None:
        """Ring at `next_due_ms`, if that is any. The server's clock decides, so only the difference counts."""
        self._cancel()
        if next_due_ms >= 0 and not self._closed:
            delay_s = max(next_due_ms - server_now_ms, 0) / 1000
            if delay_s < LONGEST_TIMER_S:
                self._handle = self._loop.call_later(delay_s + 0.001, self._due)

    def close(self) -> None:
        """Ring no more."""
        self._closed = True
        self._cancel()

    def _cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
