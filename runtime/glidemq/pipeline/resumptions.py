"""What is to be called in place of the processor when a suspended job goes on, for as long as this process lives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from glidemq.errors import DetourError, SuspendError
from glidemq.job import Job, SyncJob

AnyJob = Job[Any, Any] | SyncJob[Any, Any]

# Jobs that wait, per queue and process; of more, those that have waited longest run from the top.
KEPT: Final = 1000


class Resumption(NamedTuple):
    """job: as its processor knows it. waited: how the job's hash names the run that was suspended. runs_over: how many
    of the job's runs had ended by then.
    """

    job: Any
    waited: bytes
    runs_over: int
    on_resume: Callable[[Any], Any]


class Resumptions:
    """The `on_resume` of jobs that were suspended here.

    One is called in the very next run only: the server names the run that has waited, and where that is another one, or
    runs have ended since, the job went on elsewhere meanwhile. Written and read by: the threads that run the queue's
    jobs.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Resumption] = {}
        self._lock = threading.Lock()

    def remember(self, job: AnyJob, request: DetourError) -> None:
        """Keep what a job that was just suspended asked for, if it did."""
        if not isinstance(request, SuspendError) or request.on_resume is None or job.settled_as != "left":
            return
        with self._lock:
            self._by_id.pop(job.id, None)
            while len(self._by_id) >= KEPT:
                del self._by_id[next(iter(self._by_id))]
            self._by_id[job.id] = Resumption(job, b"-" + job.token, job.runs_over, request.on_resume)

    def take(self, job: AnyJob) -> Resumption | None:
        """What to call in this run; None: the processor. Whatever was kept for the job is forgotten."""
        if not self._by_id:
            return None
        with self._lock:
            kept = self._by_id.pop(job.id, None)
        if kept is None or (kept.waited, kept.runs_over) != (job.waited_run, job.runs_over):
            return None
        kept.job.go_on_as(job)
        return kept
