"""The queue, as producers and inspectors see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, overload

from typing_extensions import Unpack

from glidemq.client.job_end import EndWatch
from glidemq.client.new_jobs import NewJob, PreparedJob
from glidemq.client.queue_budgets import QueueBudgets
from glidemq.client.queue_control import QueueControl
from glidemq.client.queue_dead_letters import QueueDeadLetters
from glidemq.client.queue_signals import QueueSignals
from glidemq.client.queue_streams import QueueStreams
from glidemq.client.queue_usage import QueueUsage
from glidemq.client.queue_vectors import QueueVectors
from glidemq.commands.keys import DEFAULT_PREFIX
from glidemq.config import ConnectionOptions
from glidemq.connection import Connection
from glidemq.errors import JobStateError, ValidationError
from glidemq.job import Job
from glidemq.job.record import In, Out
from glidemq.options import Duration, JobOptions, PlainJobOptions, duration_ms
from glidemq.options.dead_letter_queue import DeadLetterQueue, dead_letter_queue_on_wire
from glidemq.payload.compression import CompressionName
from glidemq.serializer import JSON_SERIALIZER, Serializer

__all__ = ["NewJob", "Queue"]


class Queue(
    QueueDeadLetters[In, Out],
    QueueSignals[In, Out],
    QueueVectors[In, Out],
    QueueControl,
    QueueUsage,
    QueueBudgets,
    QueueStreams,
    Generic[In, Out],
):
    """A queue of jobs whose data is of type `In` and whose results are of type `Out`.

    Constructing one does no I/O; it connects at first use, and belongs to the event loop of that use.
    `async with` closes it.

    Only processors get instances of the type that they name. What a queue reads back, `job.data`, `job.return_value`
    and the result of `add_and_wait`, are the values that the serializer gives: of JSON, a dict where a dataclass or a
    model went in. A `TypedDict` describes it rightly on both sides.

    name: at most 256 characters, no curly braces or colons.
    connection: a URL, `ConnectionOptions`, or None for `GLIDEMQ_URL` and else the embedded server. Inside a processor
        that a supervisor runs, None is the gateway's connection, and the queue costs none of its own.
    client: an open connection to borrow (`SharedClient`) instead; the queue never closes it.
    prefix: what all keys start with.
    serializer: turns data and results into text; the same one for everybody who uses the queue.
    compression: how the data of new jobs is stored. "gzip" is read by every glide-mq; workers need no setting.
        "zstd" packs tighter and faster, but a Node reader sees {} for the data: for queues without Node only.
        The limit of 1 MiB counts before compression.
    events: False saves the `added` event of each job.
    max_waiting: how many jobs may wait for a worker, whoever added them; an add that would exceed it raises
        QueueFullError and adds nothing. Delayed jobs and those that their group holds back do not count.
    dead_letter_queue: where jobs go that fail for good; a name, a `DeadLetterQueue` or a mapping with its fields.
        Stored with the queue before the first add, for all workers; None leaves what is stored.

    Raises:
        ValidationError: a bad name, prefix, compression or dead letter queue, or both `connection` and `client`.
        ConfigurationError: a malformed URL, or no server configured where one is required.
    Source: features page, sections 3, 4 and 8.
    """

    _kind = "Queue"

    def __init__(
        self,
        name: str,
        *,
        connection: str | ConnectionOptions | None = None,
        client: Connection | None = None,
        prefix: str = DEFAULT_PREFIX,
        serializer: Serializer = JSON_SERIALIZER,
        compression: CompressionName | None = None,
        events: bool = True,
        max_waiting: int | None = None,
        dead_letter_queue: str | DeadLetterQueue | Mapping[str, Any] | None = None,
    ) -> None:
        self._dead_letters = dead_letter_queue_on_wire(dead_letter_queue, name)
        super().__init__(
            name,
            connection=connection,
            client=client,
            prefix=prefix,
            serializer=serializer,
            compression=compression,
            events=events,
            max_waiting=max_waiting,
            dead_letters=self._dead_letters,
        )

    # -- adding ------------------------------------------------------------------------------------------

    @overload
    async def add(
        self,
        name: str,
        data: In,
        *,
        job_id: None = None,
        deduplication: None = None,
        **options: Unpack[PlainJobOptions],
    ) -> Job[In, Out]: ...
    @overload
    async def add(self, name: str, data: In, **options: Unpack[JobOptions]) -> Job[In, Out] | None: ...
    async def add(self, name: str, data: In, **options: Unpack[JobOptions]) -> Job[In, Out] | None:
        """Add a job. Adds that are in flight together share a call to the server and keep their order.

        name: what kind of job it is; a non-empty string of at most 256 characters.
        data: JSON values, dataclasses, pydantic models, msgspec Structs …; at most 1 MiB of text.
        options: see `JobOptions`.

        Returns None when nothing was added: the add repeats an earlier one (option `deduplication`), or a job with
        the given `job_id` exists. Without these two options there is always a job. The job's `timestamp` is this
        host's time until it is refreshed.

        Raises, before anything is sent: ValidationError, SerializationError, ClosedError. Afterwards:
        QueueFullError (`max_waiting`, or no memory), ConnectionError (not added), UnknownOutcomeError (added or not).
        """
        self._check_open()
        new = self._preparation.prepare(name, data, options)
        job_id = await self._add(new)
        return None if job_id is None else self._added(job_id, new)

    @overload  # for mypy, which cannot tell a pair from a triple where either may stand
    async def add_bulk(self, jobs: Iterable[tuple[str, In]]) -> list[Job[In, Out]]: ...
    @overload
    async def add_bulk(self, jobs: Iterable[NewJob[In]]) -> list[Job[In, Out]]: ...
    async def add_bulk(self, jobs: Iterable[NewJob[In]]) -> list[Job[In, Out]]:
        """Add many jobs in few calls: the jobs in order, without those that `add` would return None for.

        jobs: (name, data) or (name, data, options) each, checked as in `add`, all of them before the first
        call. Each call adds up to 500 jobs or 1 MiB, all or nothing. When one fails, those of earlier calls
        stay; the error's note says how many.

        Raises as `add` does; a note of the error names the offending job's position.
        """
        self._check_open()
        given = self._preparation.prepare_all(jobs)
        ids = await self._add_all(given)
        return [
            self._added(job_id, new) for job_id, new in zip(ids, given, strict=True) if job_id is not None
        ]

    async def add_and_wait(
        self, name: str, data: In, *, wait_timeout: Duration = 30, **options: Unpack[JobOptions]
    ) -> Out:
        """Add a job, wait until it is completed, and return what its processor returned.

        Follows the queue's events on a connection of its own, made for this call, and looks at the job itself
        now and then, since events may be switched off or missed. The job goes on when waiting ends early.

        wait_timeout: seconds or timedelta, counted from the adding. name, data, options: as for `add`, without
        remove_on_complete and remove_on_fail.

        Raises:
            JobFailedError: it failed for good, expired or was revoked; the message is the failed reason.
            JobTimeoutError: it was not finished in time. JobNotFoundError: it was removed meanwhile.
            JobStateError: nothing was added, see `add`.
            ValidationError: a bad wait_timeout or option, or a queue that only borrows a connection.
            And whatever `add` raises.
        """
        self._check_open()
        timeout_ms = duration_ms(
            wait_timeout,
            "wait_timeout",
            positive=True,
            sentence="wait_timeout must be a positive finite number",
            bare_limit=True,
        )
        if options.get("remove_on_complete") or options.get("remove_on_fail"):
            raise ValidationError(
                "Queue.add_and_wait does not support remove_on_complete/remove_on_fail because it may need the"
                " job hash as a fallback."
            )
        if self._owned is None:
            raise ValidationError(
                "Queue.add_and_wait requires `connection` because it uses a dedicated blocking connection to"
                " wait for events."
            )
        new = self._preparation.prepare(name, data, options)
        async with EndWatch(self._owned.options, self.keys, self._connection, self._payload) as watch:
            job_id = await self._add(new)
            if job_id is None:
                raise JobStateError(
                    "Queue.add_and_wait() cannot wait on a deduplicated/skipped/duplicate-ID add that returned"
                    " None."
                )
            result: Out = await watch.result_of(job_id, timeout_ms)
            return result

    def _added(self, job_id: str, new: PreparedJob[In]) -> Job[In, Out]:
        return Job[In, Out].from_add(
            job_id,
            new.name,
            new.data,
            new.wire.json,
            new.wire.priority,
            queue_key=self._queue_key,
            connection=self._connection,
            payload=self._payload,
        )
