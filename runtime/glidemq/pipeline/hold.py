"""A queue's rest: for a while a cell starts none of its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from glidemq.clock import monotonic_ns


class Hold:
    """The time until which one queue rests, and the timer that ends it.

    Owns: its timer. Written by: the queue's pump. Stops when: its time has come, or the pump does.
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._until_ns = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def lasts(self) -> bool:
        """True while the queue rests."""
        return self._timer is not None

    def extend(self, pause_ms: int) -> bool:
        """Rest for so long from now on; False if it rests for longer already."""
        until_ns = monotonic_ns() + pause_ms * 1_000_000
        if until_ns <= self._until_ns:
            return False
        self.end()
        self._until_ns = until_ns
        self._timer = asyncio.get_running_loop().call_later(pause_ms / 1000, self._over)
        return True

    def end(self) -> None:
        """Rest no longer, without a word to anybody."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        self._on_end()
