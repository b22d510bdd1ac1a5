"""Suspended jobs, as those see them who let them go on."""

from __future__ import annotations

from typing import Any, Generic

from glidemq.client.queue_inspection import QueueInspection
from glidemq.commands.get_job import GetJobCommand
from glidemq.commands.signal import SignalCommand
from glidemq.commands.size_limit import check_size
from glidemq.errors import JobStateError, ValidationError
from glidemq.job import Job
from glidemq.job.record import In, Out
from glidemq.job.signals import MAX_SIGNAL_NAME, SuspendInfo, suspend_info
from glidemq.options import check_job_id
from glidemq.serializer import dump_json


class QueueSignals(QueueInspection[In, Out], Generic[In, Out]):
    """The part of `Queue` that signals; every method raises ConnectionError and ClosedError."""

    async def signal(self, job_id: str, name: str, data: Any = None) -> bool:
        """Let a suspended job go on: its processor runs again from the start, with this in `job.signals`.

        name: what the signal says, at most 256 characters. data: JSON values, at most 1 MiB of text; None for none.

        True only if the job was suspended. A signal that comes before the job waits is kept (a hundred of them, one
        MiB together): the job's next wait takes it up and ends at once. For a job that has finished, or that does
        not exist, it is dropped.

        Raises:
            ValidationError: a bad id or name, or data above 1 MiB. SerializationError: data that is no JSON.
            JobStateError: too many signals are kept for the job already. QueueFullError: the server is out of memory.
        Source: features page, section 16; ruling 26.
        """
        raw = b"" if data is None else dump_json(data, "signal data")
        check_size("Signal data", raw)
        command = SignalCommand(
            self._queue_key, job_id=check_job_id(job_id), name=_checked_name(name), data=raw
        )
        status = await self._execute(command)
        if status == "full":
            raise JobStateError(f"Cannot signal job {job_id}: too many signals wait for it to suspend")
        return status == "resumed"

    async def get_suspend_info(self, job_id: str) -> SuspendInfo | None:
        """How a job waits; None if there is no such job, or if it is not suspended."""
        command = GetJobCommand(self._queue_key, job_id=check_job_id(job_id), exclude_data=True)
        fields = await self._execute(command)
        return None if fields is None else suspend_info(fields)

    async def get_suspended_jobs(
        self, start: int = 0, end: int = -1, *, exclude_data: bool = False
    ) -> list[Job[In, Out]]:
        """The suspended jobs at the positions `start` to `end`, both inclusive; negative ones count from the end.

        Those whose time is over next come first, those without a timeout last.

        Raises:
            ValidationError: no such range.
        """
        return await self.get_jobs("suspended", start, end, exclude_data=exclude_data)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ValidationError("a signal's name must be a non-empty string")
    if len(name) > MAX_SIGNAL_NAME:
        raise ValidationError(f"a signal's name must be at most {MAX_SIGNAL_NAME} characters")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValidationError("a signal's name must be valid Unicode") from None
    return name
