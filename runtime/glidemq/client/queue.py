"""The queue, as producers and inspectors see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Generic, Protocol, Self, TypeAlias, TypeVar, cast

from typing_extensions import Unpack

from glidemq.client.adder import Adder
from glidemq.client.job_logs import JobLogs
from glidemq.commands.command import Command
from glidemq.commands.enqueue import JobRow
from glidemq.commands.get_counts import GetCountsCommand
from glidemq.commands.get_job import GetJobCommand
from glidemq.commands.get_jobs import GetJobsCommand
from glidemq.commands.get_logs import GetLogsCommand
from glidemq.commands.is_paused import IsPausedCommand
from glidemq.commands.keys import DEFAULT_PREFIX, QueueKeys
from glidemq.commands.obliterate import ObliterateCommand
from glidemq.commands.pause import PauseCommand
from glidemq.commands.remove import RemoveCommand
from glidemq.commands.resume import ResumeCommand
from glidemq.config import ConnectionOptions, resolve_connection
from glidemq.connection import CommandConnection, Connection
from glidemq.connection.ambient import provided_connection
from glidemq.errors import ClosedError, SerializationError, ValidationError
from glidemq.job import Job
from glidemq.job.record import In, Out
from glidemq.options import (
    NO_OPTIONS,
    JobOptions,
    WireOptions,
    check_job_id,
    check_job_name,
    check_prefix,
    check_queue_name,
    to_wire,
)
from glidemq.payload import Payload
from glidemq.serializer import JSON_SERIALIZER, Serializer

R = TypeVar("R")


class _Paged(Protocol):
    """A result that names the command that goes on where it stopped; None at the end."""

    @property
    def following(self) -> Command[Any] | None: ...


_Page = TypeVar("_Page", bound=_Paged)

NewJob: TypeAlias = tuple[str, In] | tuple[str, In, JobOptions]
"""What `add_bulk` takes for one job: (name, data) or (name, data, options)."""


class Queue(Generic[In, Out]):
    """A queue of jobs whose data is of type `In` and whose results are of type `Out`.

    Constructing one does no I/O; it connects at first use, and belongs to the event loop of that use.
    `async with` closes it.

    name: at most 256 characters, no curly braces or colons.
    connection: a URL, `ConnectionOptions`, or None for `GLIDEMQ_URL` and else the embedded server. Inside a processor
        that a supervisor runs, None is the gateway's connection, and the queue costs none of its own.
    client: an open connection to borrow (`SharedClient`) instead; the queue never closes it.
    prefix: what all keys start with.
    serializer: turns data and results into text; the same one for everybody who uses the queue.
    events: False saves the `added` event of each job.

    Raises:
        ValidationError: a bad name or prefix, or both `connection` and `client`.
        ConfigurationError: a malformed URL, or no server configured where one is required.
    Source: features page, sections 3, 4 and 8.
    """

    def __init__(
        self,
        name: str,
        *,
        connection: str | ConnectionOptions | None = None,
        client: Connection | None = None,
        prefix: str = DEFAULT_PREFIX,
        serializer: Serializer = JSON_SERIALIZER,
        events: bool = True,
    ) -> None:
        self.name = check_queue_name(name)
        self.keys = QueueKeys(check_prefix(prefix), name)
        self._payload = Payload(serializer)
        if client is not None and connection is not None:
            raise ValidationError("Provide either `connection` or `client`, not both.")
        if client is None and connection is None:
            client = provided_connection()
        self._owned = None if client is not None else CommandConnection(resolve_connection(connection))
        self._connection: Connection = client if client is not None else cast(Connection, self._owned)
        self._queue_key = self.keys.meta
        self._adder = Adder(self._connection, self._queue_key, events=events)
        self._closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Refuse further calls, let adds under way finish, close the connection unless it is borrowed.

        May be called twice.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="glidemq-queue-close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._adder.drain()
        if self._owned is not None:
            await self._owned.close()

    # -- adding ------------------------------------------------------------------------------------------

    async def add(self, name: str, data: In, **options: Unpack[JobOptions]) -> Job[In, Out] | None:
        """Add a job. Adds that are in flight together share a call to the server and keep their order.

        name: what kind of job it is; a non-empty string of at most 256 characters.
        data: JSON values, dataclasses, pydantic models, msgspec Structs …; at most 1 MiB of text.
        options: see `JobOptions`.

        Returns None when a job with the given `job_id` exists: nothing was added then. The job's `timestamp`
        is this host's time until it is refreshed.

        Raises, before anything is sent: ValidationError, SerializationError, ClosedError. Afterwards:
        QueueFullError (out of memory), ConnectionError (not added), UnknownOutcomeError (added or not).
        """
        self._check_open()
        check_job_name(name)
        wire = to_wire(options) if options else NO_OPTIONS
        row = _row(name, self._payload.dump_data(data), wire)
        job_id = await self._adder.submit(row)
        return None if job_id is None else self._added(job_id, name, data, wire)

    async def add_bulk(self, jobs: Iterable[NewJob[In]]) -> list[Job[In, Out]]:
        """Add many jobs in few calls: the jobs in order, those whose `job_id` existed omitted.

        jobs: (name, data) or (name, data, options) each, checked as in `add`, all of them before the first
        call. Each call adds up to 500 jobs or 1 MiB, all or nothing. When one fails, those of earlier calls
        stay; the error's note says how many.

        Raises as `add` does; a note of the error names the offending job's position.
        """
        self._check_open()
        given = [self._prepare(index, job) for index, job in enumerate(jobs)]
        ids = await self._adder.add_all([row for row, *_ in given])
        return [
            self._added(job_id, name, data, wire)
            for job_id, (_, name, data, wire) in zip(ids, given, strict=True)
            if job_id is not None
        ]

    def _prepare(self, index: int, job: NewJob[In]) -> tuple[bytes, str, In, WireOptions]:
        try:
            if not isinstance(job, (tuple, list)) or len(job) not in (2, 3):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
                raise ValidationError(
                    f"a job to add is (name, data) or (name, data, options), not {job!r:.60}"
                )
            name, data, options = job if len(job) == 3 else (*job, None)
            wire = to_wire(options) if options else NO_OPTIONS
            return _row(check_job_name(name), self._payload.dump_data(data), wire), name, data, wire
        except (ValidationError, SerializationError) as error:
            error.add_note(f"This is job {index} of add_bulk; nothing was added.")
            raise

    def _added(self, job_id: str, name: str, data: In, wire: WireOptions) -> Job[In, Out]:
        return Job[In, Out].from_add(
            job_id,
            name,
            data,
            wire.json,
            wire.priority,
            queue_key=self._queue_key,
            connection=self._connection,
            payload=self._payload,
        )

    # -- looking -----------------------------------------------------------------------------------------

    async def get_job(self, job_id: str, *, exclude_data: bool = False) -> Job[In, Out] | None:
        """The job as it is now, None if there is none; without data and return value if `exclude_data`."""
        command = GetJobCommand(self._queue_key, job_id=check_job_id(job_id), exclude_data=exclude_data)
        fields = await self._execute(command)
        return None if fields is None else self._stored(fields)

    async def get_jobs(
        self, state: str, start: int = 0, end: int = -1, *, exclude_data: bool = False
    ) -> list[Job[In, Out]]:
        """The jobs in a state, at the positions `start` to `end`, both inclusive; negative ones count from
        the end.

        state: waiting, active, delayed (as in Node: all that is scheduled, the prioritized included),
            prioritized, completed, failed or suspended. Waiting jobs come in the order in which they will
            start, finished ones oldest first. Jobs that move meanwhile may be missed or seen twice.

        Raises:
            ValidationError: another state, or no such range.
        """
        first = GetJobsCommand(self._queue_key, state=state, start=start, end=end, exclude_data=exclude_data)
        return [self._stored(fields) async for page in self._pages(first) for fields in page.jobs]

    async def get_job_counts(self) -> dict[str, int]:
        """State to number of jobs, for all states that can be counted at once.

        As in glide-mq for Node, "delayed" includes the prioritized jobs; "prioritized" shows them alone.
        """
        counts = await self._execute(GetCountsCommand(self._queue_key))
        return dict(counts)

    async def get_job_logs(self, job_id: str, start: int = 0, end: int = -1) -> JobLogs:
        """The lines `start` to `end` (both inclusive) of a job's log; none if there is no such job.

        Raises:
            ValidationError: no such range.
        """
        first = GetLogsCommand(self._queue_key, job_id=check_job_id(job_id), start=start, end=end)
        lines: list[str] = []
        count = 0
        async for page in self._pages(first):
            lines += page.lines
            count = page.count
        return JobLogs(lines, count)

    async def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return await self._execute(IsPausedCommand(self._queue_key))

    # -- changing ----------------------------------------------------------------------------------------

    async def pause(self) -> None:
        """Start no further jobs, on any worker of this library, until `resume`. Running jobs go on."""
        await self._execute(PauseCommand(self._queue_key))

    async def resume(self) -> None:
        """Start jobs again."""
        await self._execute(ResumeCommand(self._queue_key))

    async def remove(self, job_id: str) -> bool:
        """Delete a job with all that belongs to it, in any state; False if there is none.

        A running one goes on; its outcome is dropped.
        """
        existed = False
        async for removal in self._pages(RemoveCommand(self._queue_key, job_id=check_job_id(job_id))):
            existed = existed or removal.existed
        return existed

    async def obliterate(self, *, force: bool = False) -> None:
        """Delete the queue with all its jobs, in bounded rounds. Jobs added meanwhile are lost.

        Raises:
            JobStateError: jobs are active, and `force` is not given; nothing was deleted.
        """
        async for _ in self._pages(ObliterateCommand(self._queue_key, force=force)):
            pass

    # -- beneath -----------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closing is not None:
            raise ClosedError("Queue is closing")

    async def _execute(self, command: Command[R]) -> R:
        self._check_open()
        return await self._connection.execute(command)

    async def _pages(self, first: Command[_Page]) -> AsyncIterator[_Page]:
        """The result of a command, of the one that goes on where it stopped, and so forth."""
        command: Command[_Page] | None = first
        while command is not None:
            page = await self._execute(command)
            yield page
            command = page.following

    def _stored(self, fields: Mapping[str, Any]) -> Job[In, Out]:
        return Job[In, Out].from_hash(
            fields, queue_key=self._queue_key, connection=self._connection, payload=self._payload
        )


def _row(name: str, data: bytes, wire: WireOptions) -> bytes:
    if wire is NO_OPTIONS:
        return JobRow.pack(name, data)
    return JobRow.pack(
        name,
        data,
        wire.json,
        delay_ms=wire.delay_ms,
        priority=wire.priority,
        lifo=wire.lifo,
        ttl_ms=wire.ttl_ms,
        attempts=wire.attempts,
        custom_id=wire.job_id,
    )
