"""The cell's one blocking read, over every queue that is drained and has a free slot."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable

from glidemq.connection.connection import UnblockingConnection
from glidemq.connection.reader_connection import ReaderConnection
from glidemq.errors import GlideMQError
from glidemq.pipeline.queue_pump import QueuePump

log = logging.getLogger("glidemq.pipeline")

RETRY_S = 0.2


class Reader:
    """Waits on the server for the first job of any drained queue, and hands it to that queue's pump.

    It reads one entry a stream at most and is released as soon as a set of queues other than the one it waits for
    should be watched, so that it claims next to nothing that cannot start at once (feasibility 5).
    Owns: the reader connection. Stops when cancelled after `release`.
    """

    def __init__(
        self,
        *,
        consumer: str,
        connection: ReaderConnection,
        commands: UnblockingConnection,
        pumps: Callable[[], Iterable[QueuePump]],
        register: Callable[[], Awaitable[None]],
        block_ms: int,
    ) -> None:
        self._consumer = consumer
        self._connection = connection
        self._commands = commands
        self._pumps = pumps
        self._register = register
        self._block_ms = block_ms
        self._watched: frozenset[QueuePump] = frozenset()
        self._blocking = False
        self._reconsidering = False
        self._changed = asyncio.Event()
        self._releasing: asyncio.Task[None] | None = None

    def reconsider(self) -> None:
        """Look again, once in this turn of the loop, at which queues to watch."""
        if not self._reconsidering:
            self._reconsidering = True
            asyncio.get_running_loop().call_soon(self._reconsider)

    def _reconsider(self) -> None:
        self._reconsidering = False
        if not self._blocking:
            self._changed.set()
        elif self._releasing is None and self._drained_queues() != self._watched:
            self._releasing = asyncio.get_running_loop().create_task(self._release())

    def _drained_queues(self) -> frozenset[QueuePump]:
        return frozenset(pump for pump in self._pumps() if pump.wants_reader)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            self._changed.clear()
            watched = self._drained_queues()
            if not watched:
                await self._changed.wait()
                continue
            self._watched = watched
            try:
                await self._read(watched)
            except GlideMQError as error:
                log.debug("blocking read failed, trying again: %s", error)
                for pump in watched:
                    pump.recheck_orphans()
                    pump.poll()
                await asyncio.sleep(RETRY_S)
                with contextlib.suppress(GlideMQError):
                    await self._register()

    async def _read(self, watched: frozenset[QueuePump]) -> None:
        by_stream: dict[str, QueuePump] = {}
        bells: dict[str, QueuePump] = {}
        for pump in watched:
            by_stream[pump.keys.stream] = pump
            bells[pump.keys.bell] = pump
        self._blocking = True
        try:
            entries = await self._connection.read_group(
                self._consumer, [*by_stream, *bells], block_ms=self._block_ms, count=1
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
