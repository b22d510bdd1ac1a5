"""Brings the jobs of a flow to the server so that no parent can run too early, wherever the writing stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from glidemq.client.adder import MAX_BYTES_PER_CALL, MAX_ROWS_PER_CALL
from glidemq.client.flow_jobs import PlannedJob
from glidemq.commands.add_flow import AddFlowCommand
from glidemq.commands.keys import QueueKeys
from glidemq.commands.remove import RemoveCommand
from glidemq.commands.reserve_ids import MAX_IDS_PER_CALL, ReserveIdsCommand
from glidemq.connection.connection import Connection
from glidemq.errors import GlideMQError, UnknownOutcomeError, ValidationError


class FlowWriter:
    """Writes one flow: ids first, then the jobs.

    A flow in one queue that fits one call is added by it, all or nothing. Else the parents come first, each with the
    names of all its children, and the leaves, which alone can run, once every parent stands. If that fails half-way,
    what had been written is removed again; if this process dies half-way, whoever looks after the parents finds that
    children never came, and they fail.
    """

    def __init__(self, connection: Connection, duplicate: str) -> None:
        """duplicate: what a taken custom id is answered with."""
        self._connection = connection
        self._duplicate = duplicate

    async def write(self, by_id: Sequence[PlannedJob], by_add: Sequence[PlannedJob]) -> None:
        """Add the jobs; they have their ids afterwards. Both are all jobs, in the order of their ids and of their adds.

        Raises ValidationError for taken ids, and what the connection raises; then nothing is left, as far as it can be
        told.
        """
        await self.reserve(by_id)
        await self.add(by_add)

    async def reserve(self, jobs: Sequence[PlannedJob]) -> None:
        """Give each job its id."""
        await asyncio.gather(*(self._reserve_in(queue, of_queue) for queue, of_queue in _by_queue(jobs)))

    async def _reserve_in(self, queue: QueueKeys, jobs: list[PlannedJob]) -> None:
        if len(jobs) > MAX_IDS_PER_CALL:
            raise ValidationError(
                f"a flow may have at most {MAX_IDS_PER_CALL} jobs in queue {queue.queue!r}, not {len(jobs)}"
            )
        automatic = [job for job in jobs if job.wire.job_id is None]
        custom = [job.wire.job_id for job in jobs if job.wire.job_id is not None]
        reserved = await self._connection.execute(
            ReserveIdsCommand(queue.meta, count=len(automatic), custom=custom)
        )
        if reserved.taken is not None:
            raise self._taken(reserved.taken)
        for job, job_id in zip(automatic, reserved.ids, strict=True):
            job.id = job_id
        for job in jobs:
            job.id = job.id or job.wire.job_id or ""

    async def add(self, jobs: Sequence[PlannedJob]) -> None:
        """Write jobs that have their ids."""
        batches = list(_batches(jobs))
        if len(batches) > 1:
            parents = [job for job in jobs if job.children]
            leaves = [job for job in jobs if not job.children]
            phases = [list(_batches(parents)), list(_batches(leaves))]
        else:
            phases = [batches]
        written: list[PlannedJob] = []
        try:
            for phase in phases:
                results = await asyncio.gather(
                    *(self._add_batch(batch, written) for batch in phase), return_exceptions=True
                )
                for result in results:
                    if isinstance(result, BaseException):
                        raise result
        except BaseException as error:
            if written:
                await self._take_back(written, len(jobs), error)
            raise

    async def _add_batch(self, batch: _Batch, written: list[PlannedJob]) -> None:
        command = AddFlowCommand(
            batch.queue.meta,
            rows=batch.rows,
            budgets={job.id: job.budget for job in batch.jobs if job.budget is not None},
        )
        try:
            taken = await self._connection.execute(command)
        except UnknownOutcomeError:
            # A job under an id of ours is ours; one under a custom id may be somebody else's.
            written += [job for job in batch.jobs if job.wire.job_id is None]
            raise
        if taken is not None:
            raise self._taken(taken)
        written += batch.jobs

    async def _take_back(self, written: list[PlannedJob], planned: int, error: BaseException) -> None:
        """Remove what was written, roots first: the removal of a child would make its parent fail."""
        left = 0
        for job in sorted(written, key=lambda job: -job.height):
            try:
                removal = await self._connection.execute(RemoveCommand(job.keys.meta, job_id=job.id))
                while removal.following is not None:
                    removal = await self._connection.execute(removal.following)
            except GlideMQError:
                left += 1
        error.add_note(
            f"{len(written)} of {planned} jobs of the flow had been added and were removed again"
            if not left
            else f"{left} of {planned} jobs of the flow could not be removed again"
        )

    def _taken(self, job_id: str) -> ValidationError:
        error = ValidationError(self._duplicate)
        error.add_note(f"The id is {job_id!r}.")
        return error


class _Batch:
    """Jobs of one queue that fit one call."""

    __slots__ = ("jobs", "queue", "rows", "size")

    def __init__(self, queue: QueueKeys) -> None:
        self.queue = queue
        self.jobs: list[PlannedJob] = []
        self.rows: list[bytes] = []
        self.size = 0

    def has_room_for(self, row: bytes) -> bool:
        return len(self.rows) < MAX_ROWS_PER_CALL and self.size + len(row) <= MAX_BYTES_PER_CALL

    def append(self, job: PlannedJob, row: bytes) -> None:
        self.jobs.append(job)
        self.rows.append(row)
        self.size += len(row)


def _by_queue(jobs: Iterable[PlannedJob]) -> list[tuple[QueueKeys, list[PlannedJob]]]:
    queues: dict[QueueKeys, list[PlannedJob]] = {}
    for job in jobs:
        queues.setdefault(job.keys, []).append(job)
    return list(queues.items())


def _batches(jobs: Iterable[PlannedJob]) -> list[_Batch]:
    batches: list[_Batch] = []
    for queue, of_queue in _by_queue(jobs):
        batch = _Batch(queue)
        for job in of_queue:
            row = job.row()
            if batch.rows and not batch.has_room_for(row):
                batches.append(batch)
                batch = _Batch(queue)
            batch.append(job, row)
        batches.append(batch)
    return batches
