"""A blocking read over queues that are drained and have a free slot: all of them at once, or one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable

from glidemq.clock import monotonic_ns
from glidemq.connection.connection import UnblockingConnection
from glidemq.connection.reader_connection import ReaderConnection
from glidemq.errors import GlideMQError
from glidemq.pipeline.queue_pump import QueuePump

log = logging.getLogger("glidemq.pipeline")

RETRY_S = 0.2
# How long each of several queues is watched that take turns. None waits longer than `promotion_interval` anyway.
TURN_MS = 50


class Reader:
    """Waits on the server for the first job of any drained queue, and hands it to that queue's pump.

    It reads one entry a stream at most and is released as soon as a set of queues other than the one it waits for
    should be watched, so that it claims next to nothing that cannot start at once (feasibility 5). In a cluster no
    read spans two queues: those of one reader take turns, and one that is alone is watched all the time.
    Owns: the reader connection. Stops when cancelled after `release`.
    """

    def __init__(
        self,
        *,
        consumer: str,
        connection: ReaderConnection,
        commands: UnblockingConnection,
        pumps: Callable[[], Iterable[QueuePump]],
        register: Callable[[Collection[QueuePump]], Awaitable[None]],
        block_ms: int,
        in_turns: bool = False,
    ) -> None:
        self._consumer = consumer
        self._connection = connection
        self._commands = commands
        self._pumps = pumps
        self._register = register
        self._block_ms = block_ms
        self._in_turns = in_turns
        self._last_turn_ns: dict[QueuePump, int] = {}
        self._brief = False  # the read in progress is one of several that take turns
        self._watched: frozenset[QueuePump] = frozenset()
        self._blocking = False
        self._reconsidering = False
        self._changed = asyncio.Event()
        self._releasing: asyncio.Task[None] | None = None

    @property
    def blocking(self) -> bool:
        """True while a read is in progress."""
        return self._blocking

    def reconsider(self) -> None:
        """Look again, once in this turn of the loop, at which queues to watch."""
        if not self._reconsidering:
            self._reconsidering = True
            asyncio.get_running_loop().call_soon(self._reconsider)

    def _reconsider(self) -> None:
        self._reconsidering = False
        if not self._blocking:
            self._changed.set()
        elif self._releasing is None and not self._watches_rightly(self._drained_queues()):
            self._releasing = asyncio.get_running_loop().create_task(self._release())

    def _drained_queues(self) -> frozenset[QueuePump]:
        return frozenset(pump for pump in self._pumps() if pump.wants_reader)

    def _watches_rightly(self, drained: frozenset[QueuePump]) -> bool:
        if not self._in_turns:
            return drained == self._watched
        return self._watched <= drained and (self._brief or len(drained) == 1)

    def _next_watch(self, drained: frozenset[QueuePump]) -> frozenset[QueuePump]:
        self._brief = self._in_turns and len(drained) > 1
        if not self._in_turns:
            return drained
        longest_ago = min(drained, key=lambda pump: self._last_turn_ns.get(pump, 0))
        self._last_turn_ns[longest_ago] = monotonic_ns()
        return frozenset((longest_ago,))

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            self._changed.clear()
            drained = self._drained_queues()
            if not drained:
                await self._changed.wait()
                continue
            watched = self._watched = self._next_watch(drained)
            try:
                await self._read(watched)
            except GlideMQError as error:
                log.debug("blocking read failed, trying again: %s", error)
                for pump in watched:
                    pump.recheck_orphans()
                    pump.poll()
                await asyncio.sleep(RETRY_S)
                with contextlib.suppress(GlideMQError):
                    await self._register(watched)

    async def _read(self, watched: frozenset[QueuePump]) -> None:
        by_stream: dict[str, QueuePump] = {}
        bells: dict[str, QueuePump] = {}
        for pump in watched:
            by_stream[pump.keys.stream] = pump
            bells[pump.keys.bell] = pump
        self._blocking = True
        try:
            entries = await self._connection.read_group(
                self._consumer,
                [*by_stream, *bells],
                block_ms=min(TURN_MS, self._block_ms) if self._brief else self._block_ms,
                count=1,
            )
        finally:
            self._blocking = False
        for stream, entry_id, fields in entries:
            if stream in bells:
                bells[stream].rung(entry_id)
            else:
                by_stream[stream].claim(entry_id, fields.get(b"jobId", b""))

    async def _release(self) -> None:
        try:
            with contextlib.suppress(GlideMQError):
                await self._connection.unblock(self._commands)
        finally:
            self._releasing = None
            self.reconsider()  # the read that was ended may not be the one that has begun since

    async def release(self) -> None:
        """End the read in progress, for a clean stop."""
        while self._blocking:
            if self._releasing is None:
                self._releasing = asyncio.get_running_loop().create_task(self._release())
            await asyncio.wait([self._releasing])
            await asyncio.sleep(0.01)
