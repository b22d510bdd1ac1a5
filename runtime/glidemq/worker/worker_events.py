"""What a worker tells the code around it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Literal

from glidemq.actors.observer import CellObserver
from glidemq.commands.answer_budgets import RefusedByBudget
from glidemq.commands.command import unpack
from glidemq.commands.fail import FAILED, RETRYING, REVOKED_REASON
from glidemq.commands.step import ACCEPTED, ALREADY
from glidemq.errors import JobFailedError, JobTimeoutError, ValidationError
from glidemq.pipeline.completer import Outcome
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.outcome import BATCH_TIMEOUT_REASON, TIMEOUT_REASON, reason_of

log = logging.getLogger("glidemq.worker")

WorkerEvent = Literal[
    "active", "completed", "failed", "error", "stalled", "budget-exceeded", "drained", "closing", "closed"
]
EVENTS: Final[tuple[str, ...]] = (
    "active",
    "completed",
    "failed",
    "error",
    "stalled",
    "budget-exceeded",
    "drained",
    "closing",
    "closed",
)

# A completion has fewer columns than a failure; one that the server answers with "failed" was revoked.
COMPLETION_COLUMNS: Final = 6

# Jobs between their end and the server's answer; more than this are never in flight in one process.
MAX_REMEMBERED = 16_384


def _reason_in(outcome: Outcome) -> str:
    row = unpack(outcome.row)
    return row[4].decode(errors="replace") if len(row) > COMPLETION_COLUMNS else REVOKED_REASON


def _error_for(reason: str, end: Any) -> BaseException:
    """With what a job failed: what its processor raised, unless that is not why it failed."""
    if isinstance(end, BaseException) and reason_of(end) == reason:
        return end
    if reason in (TIMEOUT_REASON, BATCH_TIMEOUT_REASON):
        return JobTimeoutError(reason)
    return JobFailedError(reason)


class WorkerEvents(CellObserver):
    """Calls the handlers of a worker's events, in the worker's event loop, in the order of the events.

    `completed` and `failed` are told once the server has accepted the outcome, so that a handler which reads the job
    sees it. Owns: the handlers, and the jobs whose outcome is on its way.
    """

    def __init__(self) -> None:
        super().__init__()
        # For one that failed before its processor was called, as its data does not fit the annotation.
        self.job_of: Callable[[Lease], Any] = lambda _: None
        self._handlers: dict[str, list[Callable[..., Any]]] = {}
        self._ended: OrderedDict[bytes, tuple[Any, Any]] = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()

    def on(self, event: str, handler: Callable[..., Any]) -> None:
        """Add a handler. Raises ValidationError for an unknown event or something that cannot be called."""
        if event not in EVENTS:
            raise ValidationError(f"unknown worker event {event!r}: choose from {', '.join(EVENTS)}")
        if not callable(handler):
            raise ValidationError(f"a handler must be callable, not {type(handler).__name__}")
        self._handlers.setdefault(event, []).append(handler)

    def listened_to(self, *events: str) -> bool:
        """Whether any of these events has a handler."""
        return any(event in self._handlers for event in events)

    def emit(self, event: WorkerEvent, *arguments: Any) -> None:
        """Call the handlers; what they raise is logged, coroutines run as tasks."""
        for handler in self._handlers.get(event, ()):
            try:
                result = handler(*arguments)
            except Exception:
                log.exception("the handler of worker event %r raised", event)
                continue
            if inspect.iscoroutine(result):
                task = asyncio.get_running_loop().create_task(self._finish(event, result))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _finish(self, event: str, result: Any) -> None:
        try:
            await result
        except Exception:
            log.exception("the handler of worker event %r raised", event)

    async def wait_for_handlers(self) -> None:
        """Return when no handler is running."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # -- from processor to server's answer ------------------------------------------------------------------

    def started(self, job: Any) -> None:
        """A processor is called with this job; told in the loop, perhaps after it has ended on its thread."""
        if self.listened_to("completed", "failed"):
            self._ended.setdefault(job.token, (job, None))
        self.emit("active", job)

    def ended(self, job: Any, end: Any) -> None:
        """A processor returned `end`, or raised it; called in the loop or on the job's thread."""
        if self.listened_to("completed", "failed"):
            self._ended[job.token] = (job, end)
            while len(self._ended) > MAX_REMEMBERED:
                self._ended.popitem(last=False)

    def settled(self, outcome: Outcome, code: int) -> None:
        """The server's answer to one outcome."""
        super().settled(outcome, code)
        if outcome.lease is None:
            return
        job, end = self._ended.pop(outcome.lease.token, (None, None))
        if code == ACCEPTED:
            self.emit("completed", job, end)
        elif code in (RETRYING, FAILED):
            if self.listened_to("failed"):
                self.emit("failed", job or self.job_of(outcome.lease), _error_for(_reason_in(outcome), end))
        elif code == ALREADY and job is not None and job.settled_as == "failed":
            # It left by a detour, and has failed for good there. Of all other detours no event tells.
            self.emit("failed", job, _error_for(job.failed_reason, end))

    def refused(self, refused: RefusedByBudget) -> None:
        """A budget has no room for a job."""
        super().refused(refused)
        self.emit("budget-exceeded", refused.job_id, refused.flow_id)

    def troubled(self, queue: str, error: Exception) -> None:
        """A call failed and is repeated."""
        super().troubled(queue, error)
        self.emit("error", error)

    def stalled(self, queue: str, job_id: bytes, what: str) -> None:
        """Another worker's job was recovered."""
        super().stalled(queue, job_id, what)
        if what == "stalled":
            self.emit("stalled", job_id.decode(errors="replace"))
