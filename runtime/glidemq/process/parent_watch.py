"""Notices, without polling, that the supervisor is gone."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable


class ParentWatch:
    """Calls back once when the process `pid` has ended. Owns: a pidfd. Stops when closed."""

    def __init__(self, loop: AbstractEventLoop, pid: int, on_death: Callable[[], None]) -> None:
        self._loop = loop
        self._on_death = on_death
        self._fd = -1
        try:
            self._fd = os.pidfd_open(pid)
        except ProcessLookupError:
            loop.call_soon(on_death)
            return
        if os.getppid() != pid:  # it died before the pidfd was opened, and the number may be somebody else's
            self.close()
            loop.call_soon(on_death)
            return
        loop.add_reader(self._fd, self._ended)

    def _ended(self) -> None:
        self.close()
        self._on_death()

    def close(self) -> None:
        """Stop watching; safe to call twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._loop.remove_reader(fd)
            os.close(fd)
