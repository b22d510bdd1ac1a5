"""Who was turned away by a limit, and when to wake them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from glidemq.clock import monotonic_ns

Wake = Callable[[], None]


class WaitingRoom:
    """Queue pumps that want to ask again once it may be worth their while.

    Owns: one timer, set to the first moment that anybody waits for.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: set[Wake] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due_ns = 0

    def admit(self, wake: Wake, wait_ns: int | None = None) -> None:
        """Have `wake` called by the next `wake_all`, which comes after `wait_ns` at the latest."""
        self._waiting.add(wake)
        if wait_ns is None:
            return
        wait_ns = max(wait_ns, 0)
        due_ns = monotonic_ns() + wait_ns
        if self._timer is None or due_ns < self._due_ns:
            self._cancel_timer()
            self._due_ns = due_ns
            self._timer = self._loop.call_later(wait_ns / 1e9, self.wake_all)

    def wake_all(self) -> None:
        """Let everybody ask again."""
        self._cancel_timer()
        waiting, self._waiting = self._waiting, set()
        for wake in waiting:
            wake()

    def close(self) -> None:
        """Wake nobody any more."""
        self._cancel_timer()
        self._waiting.clear()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
