"""Steering a queue as a whole, and single jobs by their id."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from glidemq.client.queue_handle import QueueHandle
from glidemq.client.schedulers import Schedulers
from glidemq.clock import wall_datetime
from glidemq.commands.clean import CleanCommand
from glidemq.commands.drain import DrainCommand
from glidemq.commands.obliterate import ObliterateCommand
from glidemq.commands.pause import PauseCommand
from glidemq.commands.rate_limit import RateLimitOnWire
from glidemq.commands.rate_limit_group import Extend
from glidemq.commands.rate_limit_group_external import RateLimitGroupExternalCommand
from glidemq.commands.remove import RemoveCommand
from glidemq.commands.resume import ResumeCommand
from glidemq.commands.retry_jobs import RetryJobsCommand
from glidemq.commands.revoke import RevocationStatus, RevokeCommand
from glidemq.commands.set_global_concurrency import SetGlobalConcurrencyCommand
from glidemq.commands.set_global_rate_limit import SetGlobalRateLimitCommand
from glidemq.errors import ValidationError, check_word
from glidemq.options import (
    Duration,
    JobTemplate,
    RateLimit,
    RepeatableJob,
    Schedule,
    SchedulerEntry,
    check_job_id,
    duration_ms,
)
from glidemq.options.rate_limit import rate_limit_to_wire


class QueueControl(QueueHandle):
    """The part of `Queue` that changes what is there; every method raises ConnectionError and ClosedError."""

    # -- the whole queue ---------------------------------------------------------------------------------

    async def pause(self) -> None:
        """Start no further jobs, on any worker of this library, until `resume`. Running jobs go on."""
        await self._execute(PauseCommand(self._queue_key))

    async def resume(self) -> None:
        """Start jobs again."""
        await self._execute(ResumeCommand(self._queue_key))

    async def drain(self, delayed: bool = False) -> int:
        """Delete the jobs that wait, the prioritized included; their number. Running ones go on.

        delayed: delete those that are delayed too. Jobs added meanwhile may stay.
        """
        return (await self._last_page(DrainCommand(self._queue_key, delayed=delayed))).deleted

    async def clean(
        self, grace: Duration, limit: int, state: Literal["completed", "failed"] = "completed"
    ) -> list[str]:
        """Delete finished jobs, oldest first; their ids.

        grace: seconds or timedelta since their end; younger ones stay.
        limit: how many at most; 0 and less: none.

        Raises:
            ValidationError: a negative grace, no integer limit, or another state.
        """
        sentence = "grace must be >= 0"
        if isinstance(limit, bool) or not isinstance(limit, int):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError("limit must be an integer")
        first = CleanCommand(
            self._queue_key, state=state, grace_ms=duration_ms(grace, "grace", sentence=sentence), limit=limit
        )
        if limit <= 0:
            return []
        return [job_id async for page in self._pages(first) for job_id in page.ids]

    async def retry_jobs(self, count: int | None = None) -> int:
        """Give failed jobs all their attempts once more, oldest failure first; how many were retried.

        count: how many at most; None and 0: all that have failed by now.

        Raises:
            ValidationError: a negative count, or no integer.
        """
        first = RetryJobsCommand(self._queue_key, count=0 if count is None else count)
        return (await self._last_page(first)).retried

    async def obliterate(self, *, force: bool = False) -> None:
        """Delete the queue with all its jobs, in bounded rounds. Jobs added meanwhile are lost.

        Raises:
            JobStateError: jobs are active, and `force` is not given; nothing was deleted.
        """
        await self._last_page(ObliterateCommand(self._queue_key, force=force))

    # -- single jobs -------------------------------------------------------------------------------------

    async def remove(self, job_id: str) -> bool:
        """Delete a job with all that belongs to it, in any state; False if there is none.

        A running one goes on; its outcome is dropped.
        """
        existed = False
        async for removal in self._pages(RemoveCommand(self._queue_key, job_id=check_job_id(job_id))):
            existed = existed or removal.existed
        return existed

    async def revoke(self, job_id: str, *, force_after: Duration | None = None) -> RevocationStatus:
        """Let a job never complete: it ends as failed with the reason "revoked", and is not retried.

        Returns "revoked": it had not started, and has failed. "flagged": it runs; its abort signal is set,
        and it fails whatever its processor does. (A finished one stays as it is.) "not_found": there is none.

        The signal is set within a second, on whatever host the job runs. force_after: seconds or timedelta; if the job
        still runs then, its coroutine is cancelled, or the actor process that runs its plain function is killed, which
        counts as no crash. A thread of a `Worker` cannot be ended: the job fails, and the function goes on for nothing.
        Jobs that run in a batch are not ended by force.

        Raises:
            ValidationError: a malformed id, or a `force_after` that is no duration.
        """
        force_after_ms = None if force_after is None else duration_ms(force_after, "force_after")
        status: RevocationStatus | None = None
        async for page in self._pages(
            RevokeCommand(self._queue_key, job_id=check_job_id(job_id), force_after_ms=force_after_ms)
        ):
            status = status or page.status  # the first call decides; the others only tidy up
        assert status is not None, "there is always a first page"
        return status

    # -- limits ------------------------------------------------------------------------------------------

    async def set_global_concurrency(self, concurrency: int) -> None:
        """Let at most so many jobs run at once on all workers together; 0 removes the limit. What runs goes on.

        Raises:
            ValidationError: a negative number, or no integer.
        """
        await self._execute(SetGlobalConcurrencyCommand(self._queue_key, concurrency=concurrency))

    async def set_global_rate_limit(self, limit: RateLimit | Mapping[str, Any]) -> None:
        """Let at most `max` jobs start per `duration` on all workers together, which notice within their
        `promotion_interval`. The stricter of this and a worker's own limiter counts.

        limit: a `RateLimit`, or a mapping with its fields; its duration is seconds or timedelta.

        Raises:
            ValidationError: a max below 1, or a duration that is none.
        """
        wire = rate_limit_to_wire(limit, "limit")
        on_wire = RateLimitOnWire(wire["max"], wire["duration"])
        await self._execute(SetGlobalRateLimitCommand(self._queue_key, limit=on_wire))

    async def remove_global_rate_limit(self) -> None:
        """Lift the limit of `set_global_rate_limit`."""
        await self._execute(SetGlobalRateLimitCommand(self._queue_key, limit=None))

    async def rate_limit_group(
        self, group_key: str, duration: Duration, *, extend: Extend = "max"
    ) -> datetime:
        """Let no job of an ordering group start for a while; its running ones go on. Returns when it goes on.

        group_key: the jobs' `ordering.key`. duration: seconds or timedelta. extend: "max" keeps an earlier pause
        that lasts longer, "replace" ends it earlier.

        Raises:
            ValidationError: an empty key, a duration that is none, or another `extend`.
        """
        if not isinstance(group_key, str) or not group_key:  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError("group_key must be a non-empty string")
        check_word("extend", extend, ("max", "replace"))
        pause_ms = duration_ms(
            duration, "duration", positive=True, sentence="duration must be a positive finite number"
        )
        command = RateLimitGroupExternalCommand(
            self._queue_key, group_key=group_key, duration_ms=pause_ms, extend=extend
        )
        return wall_datetime(await self._execute(command))

    # -- schedulers --------------------------------------------------------------------------------------

    async def upsert_job_scheduler(
        self,
        name: str,
        schedule: Schedule | Mapping[str, Any],
        template: JobTemplate | Mapping[str, Any] | None = None,
    ) -> SchedulerEntry:
        """Create a scheduler, or change the one of this name; returns it as stored.

        An unchanged schedule keeps its next run and its count, so that a redeploy resets nothing; limit and
        template are always replaced.

        Raises, before anything is sent: ValidationError, SerializationError. Afterwards: ValidationError (no
        run lies within the bounds), SchedulerBusyError, QueueFullError.
        """
        return await self._schedulers().upsert(name, schedule, template)

    async def get_job_scheduler(self, name: str) -> SchedulerEntry | None:
        """The scheduler of this name; None if there is none."""
        return await self._schedulers().get(name)

    async def get_repeatable_jobs(self) -> list[RepeatableJob]:
        """All schedulers, by name."""
        return await self._schedulers().list()

    async def remove_job_scheduler(self, name: str) -> bool:
        """Delete a scheduler; False if there is none. Jobs that it has added are left alone.

        Raises:
            SchedulerBusyError: nothing was changed.
        """
        return await self._schedulers().remove(name)

    def _schedulers(self) -> Schedulers:
        self._check_open()
        return Schedulers(self._connection, self.keys, self._payload)
