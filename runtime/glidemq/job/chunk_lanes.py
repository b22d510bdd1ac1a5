"""Brings the chunks of many jobs to the server in few calls."""

from __future__ import annotations

import asyncio
import copy
import itertools
import secrets
from collections import deque
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakKeyDictionary

from glidemq.commands.command import Command
from glidemq.commands.stream_append import StreamAppendCommand

R = TypeVar("R")

# About 5 us of the server each.
MAX_ROWS_PER_CALL: Final = 256
MAX_BYTES_PER_CALL: Final = 262_144
# While one lane's call is answered, the other one's is built. Calls made in the same turn of the loop would share a
# request, and both sides would wait for each other all the time: 85 thousand chunks a second instead of 120.
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

    __slots__ = ("_calls", "_connection", "_id", "_loop", "_number", "_pending", "_queue_key", "_sender")

    def __init__(self, connection: Executor, queue_key: str, number: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._number = number
        self._connection = connection
        self._queue_key = queue_key
        self._id = new_lane_id()
        self._calls = itertools.count(1)
        self._pending: deque[tuple[bytes, asyncio.Future[bytes | int]]] = deque()
        self._sender: asyncio.Task[None] | None = None

    def is_of_this_loop(self) -> bool:
        """Whether the running event loop is the one that made the lane."""
        return self._loop is asyncio.get_running_loop()

    def submit(self, row: bytes) -> asyncio.Future[bytes | int]:
        """Append a packed row with the next call; the future gets the entry's id or a row code, or the call's error."""
        entry_id: asyncio.Future[bytes | int] = self._loop.create_future()
        self._pending.append((row, entry_id))
        if self._sender is None:
            # The task starts in the next turn of the loop: whoever submits in this one is in time.
            self._sender = self._loop.create_task(self._send_pending(), name="glidemq-chunks")
        return entry_id

    async def _send_pending(self) -> None:
        try:
            while self._pending:
                for _ in range(self._number * TURNS_APART):
                    await asyncio.sleep(0)
                await self._send(self._take_batch())
        finally:
            self._sender = None

    def _take_batch(self) -> list[tuple[bytes, asyncio.Future[bytes | int]]]:
        pending = self._pending
        batch = [pending.popleft()]
        size = len(batch[0][0])
        while pending and len(batch) < MAX_ROWS_PER_CALL:
            size += len(pending[0][0])
            if size > MAX_BYTES_PER_CALL:
                break
            batch.append(pending.popleft())
        return batch

    async def _send(self, batch: list[tuple[bytes, asyncio.Future[bytes | int]]]) -> None:
        command = StreamAppendCommand(
            self._queue_key, lane=self._id, call=next(self._calls), rows=[row for row, _ in batch]
        )
        try:
            entry_ids = await self._connection.execute(command)
        except BaseException as error:
            if not isinstance(error, Exception):  # cancelled with the loop: nobody sends the rest
                batch += self._pending
                self._pending.clear()
            for _, future in batch:
                _fail(future, error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), entry_id in zip(batch, entry_ids, strict=True):
            if not future.done():  # else its caller was cancelled; what it said is appended all the same
                future.set_result(entry_id)


def _fail(future: asyncio.Future[bytes | int], error: BaseException) -> None:
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
