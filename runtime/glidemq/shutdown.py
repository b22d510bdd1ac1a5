"""Closing everything in order when the process is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Awaitable, Generator, Iterable
from typing import Any, Final, Protocol, runtime_checkable

from glidemq.connection import CommandConnection
from glidemq.errors import ConfigurationError, ValidationError
from glidemq.worker.life import WorkerLife

log = logging.getLogger("glidemq.shutdown")

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@runtime_checkable
class Closable(Protocol):
    """What can be shut down: a Queue, Worker, Producer, QueueEvents, SharedClient, or anything with `close`."""

    def close(self) -> Awaitable[object]:
        """Finish and let go; may be called twice."""
        ...


def graceful_shutdown(components: Iterable[Closable]) -> GracefulShutdown:
    """Close these components when SIGTERM or SIGINT arrives; call it in the running event loop.

        stopping = graceful_shutdown([worker, queue])
        await stopping

    Workers first, all at once: they fetch nothing more and finish their running jobs, which may still need a
    queue. Then everything else, then shared clients, which the others borrowed.

    Returns a handle: await it to wait until all are closed; `shutdown()` begins without a signal; `dispose()`
    gives the signals back. Handlers that were set with `signal.signal` are put back in the end.

    Raises:
        ValidationError: a component has no `close`.
        ConfigurationError: not in the event loop of the main thread, the only one that gets signals.
    Source: features page, section 6.
    """
    return GracefulShutdown(components)


class GracefulShutdown:
    """The handle of one `graceful_shutdown`.

    Owns: the handlers of SIGTERM and SIGINT. Stops when: all components are closed, or `dispose()` is called.
    """

    def __init__(self, components: Iterable[Closable]) -> None:
        self._components = list(components)
        for component in self._components:
            if not isinstance(component, Closable):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
                raise ValidationError(f"only what has a close() can be shut down, not {component!r:.60}")
        if threading.current_thread() is not threading.main_thread():
            raise ConfigurationError(
                "graceful_shutdown must be called in the main thread: it alone gets signals"
            )
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "graceful_shutdown must be called inside the running event loop"
            ) from None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._closing: asyncio.Task[None] | None = None
        self._previous = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            self._loop.add_signal_handler(number, self._signalled, number)

    def __repr__(self) -> str:
        return f"<GracefulShutdown of {self._components}>"

    def __await__(self) -> Generator[Any, None, None]:
        # Shielded: whoever gives up waiting must not keep the others from being told.
        return asyncio.shield(self._ended).__await__()

    async def shutdown(self) -> None:
        """Close everything now; return when it is closed. May be called many times.

        What a `close()` raises is logged, and the next one is called.
        """
        if self._closing is None:
            self._closing = self._loop.create_task(self._close_all(), name="glidemq-shutdown")
        await asyncio.shield(self._closing)

    def dispose(self) -> None:
        """Stop listening to signals, and let those who await this handle go on. Closes nothing."""
        for number, previous in self._previous.items():
            self._loop.remove_signal_handler(number)
            if previous is not None:  # else it was not set from Python
                with contextlib.suppress(ValueError):  # the interpreter is on its way out
                    signal.signal(number, previous)
        self._previous = {}
        if not self._ended.done():
            self._ended.set_result(None)

    def _signalled(self, number: signal.Signals) -> None:
        if self._closing is None:
            log.info("%s: closing %d components", number.name, len(self._components))
            self._closing = self._loop.create_task(self._close_all(), name="glidemq-shutdown")

    async def _close_all(self) -> None:
        try:
            for group in _in_order(self._components):
                results = await asyncio.gather(
                    *(component.close() for component in group), return_exceptions=True
                )
                for component, result in zip(group, results, strict=True):
                    if isinstance(result, BaseException):
                        log.error("closing %r failed", component, exc_info=result)
        finally:
            self.dispose()


def _in_order(components: list[Closable]) -> list[list[Closable]]:
    """Those who run jobs, those who use connections, the connections."""
    groups: list[list[Closable]] = [[], [], []]
    for component in components:
        groups[_rank(component)].append(component)
    return groups


def _rank(component: object) -> int:
    if isinstance(component, WorkerLife):
        return 0
    return 2 if isinstance(component, CommandConnection) else 1
