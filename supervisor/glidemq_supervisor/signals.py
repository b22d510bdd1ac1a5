"""Signals of the supervisor: each handler only sets a flag and writes one byte; the loop does the work."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType

DRAIN = frozenset({signal.SIGTERM, signal.SIGINT})
HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGCHLD,
)


class SignalInbox:
    """The signals received and not yet handled, in order of arrival.

    Owns: the process's signal handlers and the wake-up pipe. Written by: the handlers. Read by: the
    supervisor's loop. Stops when: `close` restores the handlers.
    """

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._pending: list[signal.Signals] = []
        self._previous = {number: signal.signal(number, self._received) for number in HANDLED}
        # SIGPIPE is ignored by CPython; a log reader that goes away must not end the supervisor either.

    @property
    def fd(self) -> int:
        """Readable as long as signals wait to be taken."""
        return self._read_fd

    @property
    def descriptors(self) -> tuple[int, int]:
        """Both ends of the wake-up pipe, which no child needs."""
        return self._read_fd, self._write_fd

    def _received(self, number: int, _frame: FrameType | None) -> None:
        self._pending.append(signal.Signals(number))
        with contextlib.suppress(BlockingIOError):  # full of unread wake-ups: the loop will come
            os.write(self._write_fd, b"\0")

    def take(self) -> list[signal.Signals]:
        """Empty the pipe first, then the list: a signal in between leaves its byte, and so another round."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read_fd, 4096):
                pass
        # Swapped in one step, so that a handler running right here appends to one list or the other, never
        # to a lost one.
        taken, self._pending = self._pending, []
        return taken

    def close(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._read_fd)
        os.close(self._write_fd)
