"""A `glidemq-supervisor` of our own, for as long as the example runs."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from types import TracebackType

from rich.console import Console

from glidemq.examples.plain_text import print_plain

_PR_SET_PDEATHSIG = 1


class SupervisorProcess:
    """The supervisor, started as anybody would start it, and stopped with SIGTERM.

    Its log lines go to the console, between the progress bars. It sits in a session of its own, so that
    Ctrl-C reaches only us, and it drains if we are killed.
    Owns: the process and everything that it starts. Stops when: the `async with` block ends.
    """

    def __init__(self, app: str, console: Console, *arguments: str) -> None:
        """app: its module:app. arguments: of the command line."""
        self._arguments = (app, *arguments)
        self._console = console
        self._process: Process | None = None
        self._relay: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SupervisorProcess:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "glidemq_supervisor", *self._arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT,
            start_new_session=True, preexec_fn=_drain_when_parent_dies,
        )  # fmt: skip
        self._relay = asyncio.create_task(self._relay_log())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def ended(self) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        assert self._process is not None and self._relay is not None
        status = await self._process.wait()
        await self._relay
        return status

    async def stop(self) -> int:
        """Ask it to drain, and wait for its end; a second Ctrl-C while waiting stops it at once."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            return await self.ended()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGQUIT)
            await self.ended()
            raise

    async def _relay_log(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        async for line in self._process.stdout:
            print_plain(line.decode(errors="replace").rstrip(), self._console, "dim")


def _drain_when_parent_dies() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
