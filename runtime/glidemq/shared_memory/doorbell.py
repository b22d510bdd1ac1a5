"""Waking a sleeping process, without paying for it while the process is awake."""

from __future__ import annotations

import contextlib
import os
import select
import sys

from glidemq.errors import SharedMemoryError
from glidemq.shared_memory.fence import full_fence, light_fence


def ring_fd(fd: int) -> None:
    """Wake whoever waits on the eventfd `fd`, awake or not: for those who do not map its sleep word."""
    with contextlib.suppress(BlockingIOError):  # a full counter is readable: the sleeper wakes anyhow
        os.eventfd_write(fd, 1)


class Doorbell:
    """An eventfd, and a word in shared memory that says whether anybody needs it.

    The word is a sleep number: odd while its owner sleeps or is about to, even while it is awake, higher
    each time. A ringer writes the eventfd at most once for each number, so that a burst of pushes towards a
    process that is still waking up costs one system call, not one each; and as nobody but the sleeper
    writes the word, several ringers (all actors of a cell ring their gateway) need no agreement.

    Why no wake-up is lost: the sleeper stores an odd number, fences (which fences the ringers too), and
    then checks its rings. A ringer stores its record, then loads the word. Whichever comes first, one sees
    the other's store.

    Owns: nothing; word and descriptor belong to the caller.
    Word written by: the one sleeper. Read by: all ringers. Stops when: its segment is closed.

    Sleeper: do the work → `prepare_sleep()` → look for work once more → `cancel_sleep()` if there is some, else
    `wait()`. Ringer: publish → `ring()`.
    Callers still look after their work once a second: a bound for what no reasoning covers.
    """

    __slots__ = ("_fd", "_poll", "_rung", "_word")

    def __init__(self, fd: int, word: memoryview) -> None:
        """`fd`: from `create_fd`. `word`: one word of format "Q"; ringers may map it read-only."""
        self._fd = fd
        self._word = word
        self._rung = 0
        self._poll: select.poll | None = None

    @staticmethod
    def create_fd() -> int:
        """A new eventfd, to be made before the processes that share it are forked."""
        if not sys.platform.startswith("linux"):
            raise SharedMemoryError(f"the multiprocess runtime needs Linux (eventfd); this is {sys.platform}")
        try:
            return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError as error:
            raise SharedMemoryError(
                f"cannot create an eventfd: {error.strerror}. "
                "Raise the limit of open files (ulimit -n, LimitNOFILE=) or run fewer actor processes."
            ) from error

    def fileno(self) -> int:
        """The eventfd, for an event loop: readable means `drain()`, then look for work."""
        return self._fd

    # -- the ringing side --------------------------------------------------------------------------

    def ring(self) -> bool:
        """Wake the sleeper if it sleeps, after a batch was published; True if that took a system call."""
        light_fence()
        # SYNC POINT sleep: the record before this load; pairs with prepare_sleep
        number = self._word[0]
        if not number & 1 or number == self._rung:
            return False
        ring_fd(self._fd)
        self._rung = number
        return True

    def ring_always(self) -> None:
        """Wake the sleeper whatever it says: for news that it does not look for before it sleeps."""
        ring_fd(self._fd)

    # -- the sleeping side -------------------------------------------------------------------------

    def prepare_sleep(self) -> None:
        """Say that this side is about to sleep. The caller must look for work once more before it does."""
        # A fresh odd number even if the last one is still odd: those who rang for that one must ring again.
        number = (self._word[0] + 1) | 1
        self._word[0] = number
        # SYNC POINT sleep: the odd number before the caller's last check; pairs with ring
        full_fence()

    def cancel_sleep(self) -> None:
        """Say that this side is awake."""
        number = self._word[0]
        self._word[0] = number + (number & 1)

    def wait(self, timeout_s: float | None) -> bool:
        """Sleep until rung or for `timeout_s` seconds (None: for ever); awake afterwards. True if rung."""
        poll = self._poll
        if poll is None:
            self._poll = poll = select.poll()
            poll.register(self._fd, select.POLLIN)
        # Rounded up: a wait that ends just before its deadline makes the caller spin.
        rung = bool(poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000 + 0.999))
        self.drain()
        return rung

    def drain(self) -> None:
        """Say that this side is awake and reset the eventfd; to be called before looking for work."""
        self.cancel_sleep()
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)
