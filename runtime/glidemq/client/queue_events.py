"""Following what happens to a queue's jobs."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, Self, TypeAlias, TypeVar, get_args, overload

from glidemq.client.connecting import whereabouts
from glidemq.client.events import (
    TYPED_EVENTS,
    AddedEvent,
    BudgetExceededEvent,
    CompletedEvent,
    CountEvent,
    DelayChangedEvent,
    Event,
    EventName,
    FailedEvent,
    GroupRateLimitedEvent,
    PriorityChangedEvent,
    ProgressEvent,
    ResumedEvent,
    RetryingEvent,
    UsageEvent,
    parse_event,
)
from glidemq.commands.keys import DEFAULT_PREFIX, QueueKeys
from glidemq.config import ConnectionOptions, resolve_connection
from glidemq.connection import ReaderConnection
from glidemq.errors import AuthenticationError, ClosedError, ConnectionError, ValidationError
from glidemq.options import Duration, check_prefix, check_queue_name, duration_ms
from glidemq.options.nested import unknown_name
from glidemq.payload import Payload
from glidemq.serializer import JSON_SERIALIZER, Serializer

log = logging.getLogger("glidemq.events")

E = TypeVar("E", bound=Event)
Handler: TypeAlias = Callable[[E], Awaitable[object] | object]
"""A function or coroutine function that takes the event; what it returns is ignored."""

EVENT_NAMES: Final[tuple[str, ...]] = get_args(EventName)
NEWEST = "$"
EVENTS_PER_READ = 100
MAX_BLOCK_S = 10.0
FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0


class QueueEvents:
    """The events of one queue, as an iterator or by handlers, not both.

        async with QueueEvents("thumbnails") as events:
            async for event in events: ...

        events.on("completed", handler)

    Every event is seen once and in order, also across lost connections, as long as the server keeps it: the
    log holds about a thousand events, so a reader that falls further behind misses some.

    Constructing one does no I/O. It starts at `async with`, `wait_until_ready()`, the first step of an
    iteration, or the first `on()` in a running event loop.

    name: the queue.
    connection: a URL, `ConnectionOptions`, or None for `GLIDEMQ_URL` and else the embedded server.
    last_event_id: read on after this event; "0" replays what the server still has; "$" (default): what comes.
    block: seconds or timedelta, up to 10 s, that one read waits for an event.
    prefix, serializer: as for `Queue`.

    Owns: one connection. Stops when: `close()` is called.
    Raises ValidationError for bad arguments. Source: features page, section 23.
    """

    def __init__(
        self,
        name: str,
        *,
        connection: str | ConnectionOptions | None = None,
        last_event_id: str = NEWEST,
        block: Duration = 5,
        prefix: str = DEFAULT_PREFIX,
        serializer: Serializer = JSON_SERIALIZER,
        client: None = None,
    ) -> None:
        if client is not None:
            raise ValidationError(
                "QueueEvents does not accept an injected `client`. It uses blocking XREAD which requires a "
                "dedicated connection. Provide `connection` instead."
            )
        self.name = check_queue_name(name)
        self.keys = QueueKeys(check_prefix(prefix), name)
        self._block_ms = duration_ms(block, "block", positive=True, bare_limit=True)
        if self._block_ms > MAX_BLOCK_S * 1000:
            raise ValidationError(f"block must be at most {MAX_BLOCK_S:g} seconds")
        self._last_id = _check_event_id(last_event_id)
        self._payload = Payload(serializer)
        self._reader = ReaderConnection(resolve_connection(connection), client_name="glidemq-events")
        self._events: deque[Event] = deque()  # read, but not yet iterated over
        self._handlers: dict[str, list[Handler[Any]]] = {}
        self._iterated = False
        self._dispatcher: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.wait_until_ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        closed = ", closed" if self._closing.is_set() else ""
        return f"<QueueEvents {self.name!r}{whereabouts(self._reader)}{closed}>"

    @property
    def last_event_id(self) -> str:
        """The id of the newest event that was read; to be given as `last_event_id` to a successor."""
        return self._last_id

    async def wait_until_ready(self) -> None:
        """Return once every event from now on will be seen.

        Raises:
            ConnectionError: the server cannot be reached. ClosedError: after `close()`.
        """
        self._check_open()
        if self._last_id == NEWEST:
            self._last_id = await self._reader.newest_entry_id(self.keys.events)
        else:
            await self._reader.open()
        self._start_dispatching()

    async def close(self) -> None:
        """Stop at once. An iteration under way ends. May be called twice."""
        self._closing.set()
        await self._reader.close()
        dispatcher = self._dispatcher
        if dispatcher is not None and dispatcher is not asyncio.current_task():
            await asyncio.wait([dispatcher])

    # -- by iteration ------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._handlers:
            raise ValidationError("these events go to handlers: iterate over another QueueEvents")
        self._iterated = True
        while not self._events:
            if self._closing.is_set():
                raise StopAsyncIteration
            self._events.extend(await self._read())
        return self._events.popleft()

    # -- by handlers -------------------------------------------------------------------------------------

    @overload
    def on(self, event: Literal["added"], handler: Handler[AddedEvent], /) -> None: ...
    @overload
    def on(self, event: Literal["completed"], handler: Handler[CompletedEvent], /) -> None: ...
    @overload
    def on(self, event: Literal["failed"], handler: Handler[FailedEvent], /) -> None: ...
    @overload
    def on(self, event: Literal["retrying"], handler: Handler[RetryingEvent], /) -> None: ...
    @overload
    def on(self, event: Literal["progress"], handler: Handler[ProgressEvent], /) -> None: ...
    @overload
    def on(self, event: Literal["usage"], handler: Handler[UsageEvent], /) -> None: ...
    @overload
    def on(self, event: Literal["priority-changed"], handler: Handler[PriorityChangedEvent], /) -> None: ...
    @overload
    def on(
        self, event: Literal["group-rate-limited"], handler: Handler[GroupRateLimitedEvent], /
    ) -> None: ...
    @overload
    def on(self, event: Literal["delay-changed"], handler: Handler[DelayChangedEvent], /) -> None: ...
    @overload
    def on(self, event: Literal["resumed"], handler: Handler[ResumedEvent], /) -> None: ...
    @overload
    def on(self, event: Literal["budget-exceeded"], handler: Handler[BudgetExceededEvent], /) -> None: ...
    @overload
    def on(
        self, event: Literal["cleaned", "drained", "retried"], handler: Handler[CountEvent], /
    ) -> None: ...
    @overload
    def on(self, event: EventName, handler: Handler[Event], /) -> None: ...

    def on(self, event: str, handler: Handler[Any], /) -> None:
        """Call `handler` with every event of this name, one after the other, in order.

        A coroutine function is awaited before the next event. What a handler raises is logged, and the next
        event comes. An event whose fields make no sense is not handed on; it is logged. Events of names that this
        version does not know are seen by iterating.

        Raises ValidationError for an unknown name, or something that cannot be called.
        """
        self._check_open()
        if self._iterated:
            raise ValidationError("these events are iterated over: add handlers to another QueueEvents")
        if not callable(handler):
            raise ValidationError(f"a handler must be callable, not {type(handler).__name__}")
        if event not in EVENT_NAMES:
            raise unknown_name(event, list(EVENT_NAMES), "event")
        self._handlers.setdefault(event, []).append(handler)
        self._start_dispatching()

    def _start_dispatching(self) -> None:
        if self._dispatcher is None and self._handlers and _in_event_loop():
            self._dispatcher = asyncio.create_task(self._dispatch(), name=f"glidemq-events-{self.name}")

    async def _dispatch(self) -> None:
        try:
            while not self._closing.is_set():
                for event in await self._read():
                    if self._closing.is_set():
                        return
                    for handler in self._handlers.get(event.name, ()):
                        await self._call(handler, event)
        except Exception:
            log.exception("no more events of queue %r: they cannot be read", self.name)

    async def _call(self, handler: Handler[Any], event: Event) -> None:
        if type(event) is Event and event.name in TYPED_EVENTS:
            log.warning(
                "event %s of queue %r has fields that make no sense: %r", event.id, self.name, event.raw
            )
            return
        try:
            result = handler(event)
            if inspect.isawaitable(result):
                await result
        except Exception:
            log.exception("the handler of %r of queue %r raised", event.name, self.name)

    # -- reading -----------------------------------------------------------------------------------------

    async def _read(self) -> list[Event]:
        """The next events, some or none; none at the end. Waits out a server that cannot be reached."""
        wait_s = FIRST_WAIT_S
        while not self._closing.is_set():
            try:
                if self._last_id == NEWEST:
                    self._last_id = await self._reader.newest_entry_id(self.keys.events)
                entries = await self._reader.read_stream(
                    {self.keys.events: self._last_id}, block_ms=self._block_ms, count=EVENTS_PER_READ
                )
            except ClosedError:
                break
            except AuthenticationError:
                raise
            except ConnectionError as error:
                if self._closing.is_set():
                    break
                log.warning("events of queue %r: %s; trying again", self.name, error)
                with contextlib.suppress(TimeoutError):
                    pause_s = wait_s * random.uniform(0.5, 1.5)  # noqa: S311 - spreads reconnects
                    await asyncio.wait_for(self._closing.wait(), pause_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                continue
            if entries:
                self._last_id = entries[-1].entry_id.decode()
            return [parse_event(entry.entry_id, entry.fields, self._payload) for entry in entries]
        return []

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise ClosedError("QueueEvents is closed")


def _check_event_id(event_id: object) -> str:
    if isinstance(event_id, str):
        milliseconds, dash, sequence = event_id.partition("-")
        if event_id == NEWEST or (milliseconds.isdecimal() and (not dash or sequence.isdecimal())):
            return event_id
    raise ValidationError(f'last_event_id must be "$", "0" or the id of an event, not {event_id!r:.40}')


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
