"""How a worker starts and ends: each once, whoever asks, and however often."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Self

from glidemq.errors import ClosedError
from glidemq.worker.handlers import Handlers
from glidemq.worker.worker_events import WorkerEvents


class WorkerLife(Handlers, ABC):
    """The part of a worker that is started and closed.

    Owns: the tasks that do either, and the worker's events. Stops when: `close` is called.
    """

    name: str

    def __init__(self) -> None:
        self._events = WorkerEvents()
        self._starting: asyncio.Task[None] | None = None
        self._has_started = False
        self._closing: asyncio.Task[None] | None = None
        self._told_to_close = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        if self._closing is not None:
            state = "closed"
        else:
            state = "paused" if self.is_paused() else "running" if self.is_running() else "not started"
        return f"<{type(self).__name__} {self._place()}, {state}>"

    async def start(self) -> None:
        """Connect and begin to process. Once it returns, the worker is registered, or the subscription exists.

        Starting twice changes nothing.

        Raises:
            ConnectionError: the server cannot be reached. ClosedError: after `close()`.
        """
        if self._closing is not None:
            raise ClosedError(f"{type(self).__name__} is closed")
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start(), name=f"glidemq-start-{self.name}")
        await asyncio.shield(self._starting)

    wait_until_ready = start

    async def _start(self) -> None:
        await self._open()
        self._has_started = True

    async def run(self) -> None:
        """Process until `close()` is called, from a handler or another task; cancelling it closes the worker."""
        await self.start()
        try:
            await self._told_to_close.wait()
        finally:
            await self.close()

    async def close(self, force: bool = False) -> None:
        """Fetch nothing more, wait for what runs, disconnect. May be called twice.

        force: do not wait: coroutines are cancelled, and other workers get their jobs, uncharged; what runs on threads
            goes on, its jobs are run again by other workers, and its outcome is void.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(force), name=f"glidemq-close-{self.name}")
        elif force:
            self._cancel_running()
        await asyncio.shield(self._closing)

    async def _close(self, force: bool) -> None:
        self._told_to_close.set()
        self._events.emit("closing")
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if self._has_started:
            await self._end(force)
        await self._events.wait_for_handlers()
        self._events.emit("closed")

    def is_running(self) -> bool:
        """True between `start` and `close`."""
        return self._has_started and self._closing is None

    @abstractmethod
    def is_paused(self) -> bool:
        """True after `pause`, until `resume`."""

    @abstractmethod
    async def _open(self) -> None:
        """Connect and begin; whatever it raises, nothing is left open."""

    @abstractmethod
    async def _end(self, force: bool) -> None:
        """End what `_open` has begun."""

    @abstractmethod
    def _cancel_running(self) -> None:
        """Wait no longer for what runs."""

    @abstractmethod
    def _place(self) -> str:
        """What is processed, and where; without secrets."""
