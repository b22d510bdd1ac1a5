"""Looking at a queue and its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Literal

from glidemq.client.job_logs import JobLogs
from glidemq.client.job_search import JobSearch
from glidemq.client.queue_handle import QueueHandle
from glidemq.client.queue_report import Metrics, WorkerInfo, metrics_from, worker_from
from glidemq.commands.get_counts import GetCountsCommand
from glidemq.commands.get_job import GetJobCommand
from glidemq.commands.get_jobs import GetJobsCommand
from glidemq.commands.get_logs import GetLogsCommand
from glidemq.commands.get_metrics import GetMetricsCommand
from glidemq.commands.get_settings import GetSettingsCommand
from glidemq.commands.get_workers import GetWorkersCommand
from glidemq.commands.is_paused import IsPausedCommand
from glidemq.commands.search_jobs import SearchJobsCommand
from glidemq.job import Job
from glidemq.job.record import In, Out
from glidemq.options import RateLimit, check_job_id

COUNTED_BY_NODE = ("waiting", "active", "delayed", "completed", "failed")


class QueueInspection(QueueHandle, Generic[In, Out]):
    """The part of `Queue` that reads and changes nothing; every method raises ConnectionError and ClosedError."""

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
            prioritized, completed, failed, suspended or waiting-children. Waiting jobs come in the order in which
            they will start, finished ones oldest first, parents that wait for their children in none; a parent that
            Node parked is listed once a child of it has ended, `search_jobs` finds it before. Jobs that move
            meanwhile may be missed or seen twice.

        Raises:
            ValidationError: another state, or no such range.
        """
        first = GetJobsCommand(self._queue_key, state=state, start=start, end=end, exclude_data=exclude_data)
        return [self._stored(fields) async for page in self._pages(first) for fields in page.jobs]

    async def search_jobs(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        data: Mapping[str, Any] | None = None,
        limit: int = 100,
        exclude_data: bool = False,
    ) -> list[Job[In, Out]]:
        """The jobs that meet all conditions, at most `limit` of them.

        state: exactly this one, in the order of `get_jobs`; group-waiting as well.
        name: exactly this one. Both None: any.
        data: members that the job's data, once deserialized, has with equal values, whatever else it has.
        exclude_data: leave data and return value out of what is returned.

        Without a state, and for group-waiting and waiting-children, every job of the queue is looked at, in no order.
        The server is asked in many short calls; only jobs whose state and name fit are sent. Jobs that move meanwhile
        may be missed.

        Raises:
            ValidationError: an unknown state, a limit that is no positive integer, data that is no mapping.
        Source: features page, section 8.
        """
        search = JobSearch(self._payload, data, limit, exclude_data=exclude_data)
        first = SearchJobsCommand(self._queue_key, state=state, name=name, exclude_data=not search.needs_data)
        async for page in self._pages(first):
            if search.take(page.jobs):
                break
        return [self._stored(fields) for fields in search.found]

    async def get_job_counts(self) -> dict[str, int]:
        """State to number of jobs, for all states that can be counted at once.

        As in glide-mq for Node, "delayed" includes the prioritized jobs; "prioritized" shows them alone.
        """
        counts = await self._execute(GetCountsCommand(self._queue_key))
        return dict(counts)

    async def get_job_count_by_types(self) -> dict[str, int]:
        """The five states that glide-mq for Node counts: waiting, active, delayed, completed, failed."""
        counts = await self.get_job_counts()
        return {state: counts[state] for state in COUNTED_BY_NODE}

    async def count(self) -> int:
        """How many jobs wait for a worker."""
        return (await self.get_job_counts())["waiting"]

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

    async def get_metrics(
        self, kind: Literal["completed", "failed"], start: int = 0, end: int = -1
    ) -> Metrics:
        """How many jobs completed, or failed for good, in each minute of the last 24 hours.

        start, end: positions among the minutes in which any did, both inclusive; negative ones count from the
        end.

        Raises:
            ValidationError: another kind, or no such range.
        """
        command = GetMetricsCommand(self._queue_key, kind=kind, start=start, end=end)
        return metrics_from(await self._execute(command))

    async def get_workers(self) -> list[WorkerInfo]:
        """The workers of this queue that are alive, of this library and of Node, oldest first."""
        return [worker_from(entry) for entry in await self._execute(GetWorkersCommand(self._queue_key))]

    async def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return await self._execute(IsPausedCommand(self._queue_key))

    async def get_global_concurrency(self) -> int | None:
        """How many jobs may run at once on all workers together; None without a limit."""
        return (await self._execute(GetSettingsCommand(self._queue_key))).global_concurrency

    async def get_global_rate_limit(self) -> RateLimit | None:
        """How many jobs may start per window on all workers together; None without a limit."""
        limit = (await self._execute(GetSettingsCommand(self._queue_key))).global_rate_limit
        return None if limit is None else RateLimit(limit.max, limit.duration_ms / 1000)

    def _stored(self, fields: Mapping[str, Any]) -> Job[In, Out]:
        return Job[In, Out].from_hash(
            fields, queue_key=self._queue_key, connection=self._connection, payload=self._payload
        )
