"""How a running job learns that it should stop."""

from __future__ import annotations

import asyncio
from typing import Protocol

from glidemq.errors import JobAbortedError

# How often a flag without a wait of its own is looked at while somebody waits for it.
POLL_S = 0.05


class AbortFlag(Protocol):
    """What a signal looks at: a word in shared memory, or a variable of the event loop.

    It may have `async def wait(self) -> None`, which returns once the flag is up; without it the flag is
    polled.
    """

    def reason(self) -> int:
        """0 while the job may go on; otherwise why not: see `REASONS`."""
        ...


REASONS = {
    1: "it was given back to the queue",
    2: "it was revoked, or its lease was lost",
    3: "it overran its timeout",
}


class AbortSignal:
    """Tells a processor that nobody wants its job's outcome any more.

    Set when the job is revoked, overruns its timeout, or its lease is lost. Looking at it costs no I/O.
    Written by: the runtime. Read by: the processor, from any thread. Source: ruling 17.
    """

    __slots__ = ("_flag",)

    def __init__(self, flag: AbortFlag | None = None) -> None:
        self._flag = flag

    def __repr__(self) -> str:
        return f"<AbortSignal: {self.reason or 'not set'}>"

    @property
    def aborted(self) -> bool:
        """True once the job should stop; it never becomes False again."""
        return self._flag is not None and self._flag.reason() != 0

    @property
    def reason(self) -> str | None:
        """Why the job should stop, in words; None while it should not."""
        number = 0 if self._flag is None else int(self._flag.reason())
        return REASONS.get(number, "it was aborted") if number else None

    def raise_if_aborted(self) -> None:
        """Do nothing while the job may go on.

        Raises:
            JobAbortedError: the job should stop.
        """
        if self.aborted:
            raise JobAbortedError(f"the job should stop: {self.reason}")

    async def wait(self) -> None:
        """Return once the job should stop: for `asyncio.wait` beside the work itself. Only in `async def`."""
        if self._flag is None:
            await asyncio.get_running_loop().create_future()  # a job that nobody runs is never aborted
            return
        wait = getattr(self._flag, "wait", None)
        if wait is not None:
            await wait()
        while not self._flag.reason():  # noqa: ASYNC110 - shared memory rings no bell here
            await asyncio.sleep(POLL_S)
