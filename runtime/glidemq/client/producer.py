"""Adding jobs and nothing else, for programs that only hand work over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, overload

from typing_extensions import Unpack

from glidemq.client.new_jobs import NewJob
from glidemq.client.queue_handle import QueueHandle
from glidemq.job.record import In
from glidemq.options import JobOptions, PlainJobOptions


class Producer(QueueHandle, Generic[In]):
    """Adds jobs whose data is of type `In` to one queue, and returns their ids.

    The same options, checks and server calls as `Queue.add`; no `Job` objects. Made for web handlers and
    serverless functions: with `client` it borrows a connection that lives as long as the request, and never
    closes it.

    name, connection, client, prefix, serializer, compression, events, max_waiting: as for `Queue`.
    Raises ValidationError and ConfigurationError as `Queue` does. Source: features page, section 23.
    """

    _kind = "Producer"

    @property
    def is_closed(self) -> bool:
        """True once `close()` was called."""
        return self._closing is not None

    @overload
    async def add(
        self,
        name: str,
        data: In,
        *,
        job_id: None = None,
        deduplication: None = None,
        **options: Unpack[PlainJobOptions],
    ) -> str: ...
    @overload
    async def add(self, name: str, data: In, **options: Unpack[JobOptions]) -> str | None: ...
    async def add(self, name: str, data: In, **options: Unpack[JobOptions]) -> str | None:
        """Add a job; its id, or None when nothing was added. Else as `Queue.add`."""
        self._check_open()
        return await self._add(self._preparation.prepare(name, data, options))

    @overload  # for mypy, which cannot tell a pair from a triple where either may stand
    async def add_bulk(self, jobs: Iterable[tuple[str, In]]) -> list[str | None]: ...
    @overload
    async def add_bulk(self, jobs: Iterable[NewJob[In]]) -> list[str | None]: ...
    async def add_bulk(self, jobs: Iterable[NewJob[In]]) -> list[str | None]:
        """Add many jobs; one id for each, None for those not added. Else as `Queue.add_bulk`."""
        self._check_open()
        return await self._add_all(self._preparation.prepare_all(jobs))
