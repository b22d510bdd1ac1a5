"""From what a caller gives for a new job to the row that the server gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeAlias

from glidemq.commands.enqueue import Family, JobRow
from glidemq.errors import SerializationError, ValidationError
from glidemq.job.record import In
from glidemq.options import NO_OPTIONS, JobOptions, ParentJob, WireOptions, check_job_name, to_wire
from glidemq.payload import Payload
from glidemq.payload.compression import Compression

NewJob: TypeAlias = tuple[str, In] | tuple[str, In, JobOptions]
"""What `add_bulk` takes for one job: (name, data) or (name, data, options)."""


class PreparedJob(NamedTuple, Generic[In]):
    """A checked job: its packed row, and what it was made from; `text` is the data as it is stored."""

    row: bytes
    name: str
    data: In
    text: bytes
    wire: WireOptions


class JobPreparation:
    """Checks, serializes, compresses and packs the new jobs of one queue; the one way in for all producers."""

    __slots__ = ("_compression", "_payload")

    def __init__(self, payload: Payload, compression: Compression | None) -> None:
        self._payload = payload
        self._compression = compression

    def prepare(self, name: str, data: In, options: Mapping[str, Any] | None) -> PreparedJob[In]:
        """One job, ready to leave. Raises ValidationError and SerializationError."""
        check_job_name(name)
        wire = to_wire(options) if options else NO_OPTIONS
        text = data_as_stored(data, self._payload, self._compression)
        return PreparedJob(job_row(name, text, wire), name, data, text, wire)

    def prepare_all(self, jobs: Iterable[NewJob[In]]) -> list[PreparedJob[In]]:
        """All jobs of an `add_bulk`; a note of the error names the offending job's position."""
        return [self._prepare_nth(index, job) for index, job in enumerate(jobs)]

    def _prepare_nth(self, index: int, job: NewJob[In]) -> PreparedJob[In]:
        try:
            if not isinstance(job, (tuple, list)) or len(job) not in (2, 3):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
                raise ValidationError(
                    f"a job to add is (name, data) or (name, data, options), not {job!r:.60}"
                )
            name, data, options = job if len(job) == 3 else (*job, None)
            return self.prepare(name, data, options)
        except (ValidationError, SerializationError) as error:
            error.add_note(f"This is job {index} of add_bulk; nothing was added.")
            raise


def data_as_stored(data: object, payload: Payload, compression: Compression | None) -> bytes:
    """The text that a new job's hash gets. Raises ValidationError for one that is too long, and SerializationError."""
    text = payload.dump_data(data)
    return text if compression is None else compression.deflate(text)


def job_row(
    name: str,
    data: bytes,
    wire: WireOptions,
    *,
    job_id: str | None = None,
    parent: ParentJob | None = None,
    family: Family | None = None,
    budget_key: str | None = None,
) -> bytes:
    """The row of one job. job_id: the id that was reserved for it, if it has none of its own.

    parent: the one job that waits for it, if its options do not say. budget_key: that of its flow, if the parents stand
    elsewhere.
    """
    if wire is NO_OPTIONS and job_id is None:
        return JobRow.pack(name, data)
    if parent is None and wire.parents and not wire.has_several_parents:
        parent = wire.parents[0]
    return JobRow.pack(
        name,
        data,
        wire.json,
        delay_ms=wire.delay_ms,
        priority=wire.priority,
        lifo=wire.lifo,
        ttl_ms=wire.ttl_ms,
        attempts=wire.attempts,
        custom_id=job_id or wire.job_id,
        parent_id=None if parent is None else parent.id,
        parent_queue=None if parent is None else parent.queue,
        group=wire.group,
        cost=wire.cost,
        deduplication=wire.deduplication,
        family=family,
        budget_key=budget_key,
    )
