"""Bringing new jobs to the server in as few calls as their callers allow."""

from __future__ import annotations

import asyncio
import copy
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeGuard

from glidemq.commands.enqueue import EnqueueCommand
from glidemq.commands.set_dead_letter_queue import SetDeadLetterQueueCommand
from glidemq.connection.connection import Connection
from glidemq.errors import QueueFullError
from glidemq.options.dead_letter_queue import DeadLetterQueueOnWire

# A call of so many rows keeps the server busy for about 10 ms, and everybody else waiting.
MAX_ROWS_PER_CALL = 500
MAX_BYTES_PER_CALL = 1_048_576
# Two calls keep the server busy while the client builds the next one.
BULK_CALLS_IN_FLIGHT = 2
_NUMBER = re.compile(r"[1-9][0-9]{0,14}")


class _PendingAdd(NamedTuple):
    row: bytes
    job_id: asyncio.Future[str | None]


class Adder:
    """Adds the jobs of one queue.

    Single adds wait for company: those of one turn of the event loop, and those that come while a call is
    under way, leave together in the next call. One call at a time keeps the jobs in the order of their adds,
    whatever has to be repeated. A call carries an id of its own, so that repeating it after a lost reply
    adds nothing twice.
    Owns: the adds between being made and being answered. Stops when: `drain()` has returned and nobody adds.
    """

    def __init__(
        self,
        connection: Connection,
        queue_key: str,
        *,
        events: bool,
        max_waiting: int | None = None,
        dead_letters: DeadLetterQueueOnWire | None = None,
    ) -> None:
        """dead_letters: what the queue is to have before the first job is added."""
        self._connection = connection
        self._queue_key = queue_key
        self._events = events
        self._max_waiting = max_waiting
        self._dead_letters = dead_letters
        self._given_id = 0  # the highest automatic id that was given to an add of ours
        self._pending: deque[_PendingAdd] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._bulks: set[asyncio.Task[list[str | None]]] = set()

    # -- one by one --------------------------------------------------------------------------------------

    def submit(self, row: bytes) -> asyncio.Future[str | None]:
        """Add one packed row with the next call. The future gets the id, None for a duplicate, or the call's
        error.

        Cancelling the future before the call leaves takes the job back; after that it makes no difference.
        """
        loop = asyncio.get_running_loop()
        job_id: asyncio.Future[str | None] = loop.create_future()
        self._pending.append(_PendingAdd(row, job_id))
        if self._sender is None:
            # The task starts in the next turn of the loop: whoever adds in this one is in time.
            self._sender = loop.create_task(self._send_pending(), name="glidemq-adder")
        return job_id

    async def _send_pending(self) -> None:
        try:
            while batch := self._take_batch():
                await self._send(batch)
        finally:
            self._sender = None

    def _take_batch(self) -> list[_PendingAdd]:
        batch: list[_PendingAdd] = []
        size = 0
        pending = self._pending
        while pending and len(batch) < MAX_ROWS_PER_CALL:
            add = pending[0]
            if not add.job_id.done():  # else cancelled
                size += len(add.row)
                if batch and size > MAX_BYTES_PER_CALL:
                    break
                batch.append(add)
            pending.popleft()
        return batch

    async def _send(self, batch: list[_PendingAdd]) -> None:
        try:
            ids = await self._enqueue([add.row for add in batch])
        except QueueFullError as full:
            # These adds merely travelled together: as many as there is room for go again.
            for add in batch[full.room :]:
                if not add.job_id.done():
                    _fail(add.job_id, full)
            if 0 < full.room < len(batch):
                await self._send(batch[: full.room])
            return
        except BaseException as error:
            for add in batch:
                if not add.job_id.done():
                    _fail(add.job_id, error)
            if not isinstance(error, Exception):  # cancelled with the loop: nobody sends the rest
                while self._pending:
                    self._pending.popleft().job_id.cancel()
                raise
            return
        for add, job_id in zip(batch, ids, strict=True):
            if not add.job_id.done():
                add.job_id.set_result(job_id)

    # -- many --------------------------------------------------------------------------------------------

    async def add_all(self, rows: Sequence[bytes]) -> list[str | None]:
        """Add packed rows in bounded calls, two at a time; one id per row, None for a duplicate.

        When a call fails, no further one is made, and the error says how many rows had been added.
        """
        # A task of its own: cancelling the caller must not leave half of a call's outcome unknown to `drain`.
        task = asyncio.get_running_loop().create_task(self._add_all(rows), name="glidemq-bulk-adder")
        self._bulks.add(task)
        task.add_done_callback(self._bulks.discard)
        return await task

    async def _add_all(self, rows: Sequence[bytes]) -> list[str | None]:
        ids: list[str | None] = []
        in_flight: deque[asyncio.Task[list[str | None]]] = deque()
        chunks = _chunks(rows)
        error: Exception | None = None
        try:
            while True:
                while error is None and len(in_flight) < BULK_CALLS_IN_FLIGHT:
                    chunk = next(chunks, None)
                    if chunk is None:
                        break
                    in_flight.append(asyncio.create_task(self._enqueue(chunk), name="glidemq-bulk-call"))
                if not in_flight:
                    break
                try:
                    ids += await in_flight.popleft()
                except Exception as failure:
                    error = error or failure
        finally:
            for call in in_flight:
                call.cancel()
        if error is not None:
            added = sum(1 for job_id in ids if job_id is not None)
            error.add_note(f"{added} of {len(rows)} jobs had been added by other calls of this add_bulk")
            raise error
        return ids

    # -- both --------------------------------------------------------------------------------------------

    async def _enqueue(self, rows: Sequence[bytes]) -> list[str | None]:
        if self._dead_letters is not None:
            await self._connection.execute(
                SetDeadLetterQueueCommand(self._queue_key, dead_letters=self._dead_letters)
            )
            self._dead_letters = None
        command = EnqueueCommand(
            self._queue_key,
            rows=rows,
            events=self._events,
            max_waiting=self._max_waiting,
            given_id=self._given_id,
        )
        ids = (await self._connection.execute(command)).ids
        newest = next((int(job_id) for job_id in reversed(ids) if _is_numbered(job_id)), 0)
        self._given_id = max(self._given_id, newest)
        return ids

    async def drain(self) -> None:
        """Return once every add made so far is answered."""
        under_way = [task for task in (self._sender, *self._bulks) if task is not None]
        if under_way:
            await asyncio.wait(under_way)


def _is_numbered(job_id: str | None) -> TypeGuard[str]:
    """Whether an id is in the counter's sequence: given by it, or a number that it was moved to."""
    return job_id is not None and _NUMBER.fullmatch(job_id) is not None


def _chunks(rows: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    first = 0
    size = 0
    for index, row in enumerate(rows):
        size += len(row)
        if index > first and (index - first >= MAX_ROWS_PER_CALL or size > MAX_BYTES_PER_CALL):
            yield rows[first:index]
            first, size = index, len(row)
    if first < len(rows):
        yield rows[first:]


def _fail(future: asyncio.Future[str | None], error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        future.cancel()
    else:
        # One object raised in many tasks would gather the tracebacks and notes of all of them.
        own = copy.copy(error).with_traceback(error.__traceback__)
        own.__cause__ = error.__cause__
        future.set_exception(own)
