"""Brings the chunks of many jobs to the server in few calls."""

from __future__ import annotations

import asyncio
import copy
import itertools
import secrets
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakKeyDictionary

from glidemq.commands.command import Command
from glidemq.commands.stream_append import StreamAppendCommand
from glidemq.job.chunks import CHUNK_SIZE, ChunkBatch, ChunkSource

R = TypeVar("R")

# A batch of this size takes no more: some 250 tokens, about 3 us of the server each.
FULL: Final = 250 * CHUNK_SIZE
# While one lane's call is answered, the other one's is built. Calls made in the same turn of the loop would share a
# request, and both sides would wait for each other all the time. More lanes make smaller calls, and each call costs
# about 190 us of the client's CPU.
LANES: Final = 2
TURNS_APART: Final = 3


class Executor(Protocol):
    """What a lane needs of a connection."""

    async def execute(self, command: Command[R], /) -> R:
        """Execute one command."""
        ...


class ChunkLane:
    """Appends chunks of many jobs of one queue, in the order in which they come, one call at a time.

    Chunks of one turn of the event loop, and those that come while a call is under way, leave together. One call at a
    time keeps a job's chunks in order whatever has to be repeated: a job stays in its lane.
    Owns: the chunks between being made and being answered.
    """

    __slots__ = (
        "_calls",
        "_connection",
        "_era",
        "_filling",
        "_id",
        "_loop",
        "_new_future",
        "_number",
        "_pending",
        "_queue_key",
        "_sender",
    )

    def __init__(self, connection: Executor, queue_key: str, number: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._new_future = self._loop.create_future
        self._number = number
        self._connection = connection
        self._queue_key = queue_key
        self._id = new_lane_id()
        self._calls = itertools.count(1)
        self._era = 0
        self._pending: deque[PendingBatch] = deque()
        self._filling: PendingBatch | None = None  # the last of them
        self._sender: asyncio.Task[None] | None = None

    def is_of_this_loop(self) -> bool:
        """Whether the running event loop is the one that made the lane."""
        return self._loop is asyncio.get_running_loop()

    def append(self, source: ChunkSource, fields: Mapping[str, str]) -> asyncio.Future[str]:
        """Append a chunk with the next call; the future gets the entry's id or a row code, or the call's error.

        Raises ValidationError, see `ChunkSource.write`.
        """
        batch = self._filling
        if batch is None or batch.size > FULL:
            batch = PendingBatch(self._era)
        source.write(fields, batch)
        if batch is not self._filling:
            self._filling = batch
            self._pending.append(batch)
        entry_id: asyncio.Future[str] = self._new_future()
        batch.entry_ids.append(entry_id)
        if self._sender is None:
            # The task starts in the next turn of the loop: whoever appends in this one is in time.
            self._sender = self._loop.create_task(self._send_pending(), name="glidemq-chunks")
        return entry_id

    async def _send_pending(self) -> None:
        try:
            while self._pending:
                for _ in range(self._number * TURNS_APART):
                    await asyncio.sleep(0)
                batch = self._pending.popleft()
                if batch is self._filling:
                    self._filling = None
                await self._send(batch)
        finally:
            self._sender = None

    async def _send(self, batch: PendingBatch) -> None:
        command = StreamAppendCommand(
            self._queue_key, lane=self._id, call=next(self._calls), era=batch.era or 0, chunks=batch.elements
        )
        try:
            appended = await self._connection.execute(command)
        except BaseException as error:
            for future in batch.entry_ids:
                _fail(future, error)
            if not isinstance(error, Exception):  # cancelled with the loop: nobody sends the rest
                for rest in self._pending:
                    for future in rest.entry_ids:
                        _fail(future, error)
                self._pending.clear()
                self._filling = None
                raise
            return
        self._era = appended.era
        batch.appended_in(self._era)
        for future, entry_id in zip(batch.entry_ids, appended.entry_ids, strict=True):
            if not future.done():  # else its caller was cancelled; what it said is appended all the same
                future.set_result(entry_id)


class PendingBatch(ChunkBatch):
    """A batch, and those who wait for it."""

    __slots__ = ("entry_ids",)

    def __init__(self, era: int) -> None:
        super().__init__(era)
        self.entry_ids: list[asyncio.Future[str]] = []


def _fail(future: asyncio.Future[str], error: BaseException) -> None:
    if future.done():
        return
    if isinstance(error, Exception):
        # One object raised in many tasks would gather the tracebacks of all of them.
        future.set_exception(copy.copy(error))
    else:
        future.cancel()


def new_lane_id() -> str:
    """A name that no other lane has."""
    return secrets.token_hex(8)


_lanes_of: WeakKeyDictionary[Any, dict[tuple[str, int], ChunkLane]] = WeakKeyDictionary()


def lane_for(connection: Any, queue_key: str, job_id: str) -> ChunkLane:
    """The lane of a connection for a job's chunks."""
    lanes = _lanes_of.get(connection)
    if lanes is None:
        lanes = _lanes_of[connection] = {}
    key = (queue_key, hash(job_id) % LANES)
    lane = lanes.get(key)
    if lane is None or not lane.is_of_this_loop():  # a plain function may run one loop after the other
        lane = lanes[key] = ChunkLane(connection, queue_key, key[1])
    return lane
