"""An event loop whose time passes as soon as everybody waits, and a server that lives in the same time."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar
from unittest import mock

from glidemq.commands.command import Command
from tests.lua.driven_queue import START_MS, DrivenQueue
from tests.lua.executed import execute

R = TypeVar("R")

# The modules that measure time; each has bound the clock to a name of its own.
CLOCKS = ("purse", "leased_purse", "counted_purse", "limit_watch", "waiting_room")


class _Patience(selectors.SelectSelector):
    """Waits for nothing but time, which then has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everybody waits for something that never comes"
        self.now_s += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Owns: the time, in seconds from 0."""

    def __init__(self) -> None:
        self._patience = _Patience()
        super().__init__(self._patience)

    def time(self) -> float:
        return self._patience.now_s

    def now_ns(self) -> int:
        return round(self._patience.now_s * 1e9)

    def server_ms(self) -> int:
        return START_MS + int(self._patience.now_s * 1000)


@contextlib.contextmanager
def _clocks_of(loop: VirtualLoop) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for module in CLOCKS:
            target = f"glidemq.pipeline.limits.{module}.monotonic_ns"
            stack.enter_context(mock.patch(target, loop.now_ns, create=True))
        yield


def run(main: Coroutine[Any, Any, R], loop: VirtualLoop) -> R:
    """Run to the end, in no time."""
    try:
        with _clocks_of(loop):
            return loop.run_until_complete(main)
    finally:
        loop.close()


class VirtualConnection:
    """Executes commands on the real server at the loop's time, some milliseconds after they were sent."""

    def __init__(self, driven: DrivenQueue, loop: VirtualLoop, latency_s: float) -> None:
        self._driven = driven
        self._loop = loop
        self._latency_s = latency_s
        self.calls: list[str] = []

    async def execute(self, command: Command[R]) -> R:
        await asyncio.sleep(self._latency_s)
        self._driven.now = self._loop.server_ms()
        self.calls.append(command.function)
        result = execute(self._driven, command)
        await asyncio.sleep(self._latency_s)
        return result
