"""Every error that glidemq raises, in one hierarchy.

Errors say what was wrong and what happens next. Where the reference documents a sentence, that sentence is
kept, with Python names and seconds (python-api page, rulings 14).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Literal


class GlideMQError(Exception):
    """Root of every error raised by glidemq."""


# -- bad input
# -------------------------------------------------------------------------------------------------


class ValidationError(GlideMQError, ValueError):
    """An argument is out of range or malformed; nothing was sent to the server."""


class CycleError(ValidationError):
    """The nodes of a graph wait for one another in a circle; nothing was sent to the server.

    cycle: the names, each depending on the next; the first one comes again at the end.
    """

    def __init__(self, cycle: list[str]) -> None:
        super().__init__("DAG contains a cycle: " + " -> ".join(cycle))
        self.cycle = cycle


class ConfigurationError(GlideMQError, ValueError):
    """A setting, a module:app or a combination of options cannot work; says what to change."""


class SerializationError(GlideMQError, ValueError):
    """A value cannot be serialized for storage; nothing was sent to the server."""


class PayloadValidationError(GlideMQError, ValueError):
    """A job's data does not fit its processor's annotation; the job fails for good without a retry."""


# -- server and connection
# ---------------------------------------------------------------------------------------


class ConnectionError(GlideMQError):  # the documented name; shadows the builtin only inside glidemq
    """The server could not be reached, or the connection broke while a call was in flight."""


class UnknownOutcomeError(ConnectionError):
    """A call was sent but its reply was lost: it was executed 0 or 1 times, perhaps later."""


class AuthenticationError(ConnectionError):
    """The server refused the user name or password; nothing was executed, and trying again cannot help."""


class ServerError(GlideMQError):
    """The server answered with an error that glidemq does not expect; carries the server's text.

    `code` is the error's first word as the server sent it (`WRONGTYPE`, `NOPERM`, `ERR` …).
    """

    def __init__(self, message: str, code: str = "ERR") -> None:
        super().__init__(message)
        self.code = code


class GroupMissingError(ServerError):
    """A stream or its consumer group is gone, as after a restart with an empty memory: make it anew."""


class LibraryVersionError(GlideMQError):
    """The server holds a function library that this client may neither use nor replace."""


class QueueFullError(GlideMQError):
    """The queue's `max_waiting` is reached, or the server is out of memory: nothing was added.

    room: how many jobs might have been added; 0 if none, or if memory was the reason.
    """

    def __init__(self, message: str, room: int = 0) -> None:
        super().__init__(message)
        self.room = room


class SchedulerBusyError(GlideMQError):
    """Somebody else has held the queue's scheduler lock for seconds; nothing was changed, try again."""


class UsageBusyError(GlideMQError):
    """A Node client has held the job's usage lock for seconds; nothing was changed, try again."""


class SearchUnavailableError(GlideMQError):
    """The server has no search module, or is a cluster, and a search in this process was not wanted."""


class ClosedError(GlideMQError):
    """The object was used after `close()`."""


# -- jobs
# --------------------------------------------------------------------------------------------------------


class JobNotFoundError(GlideMQError):
    """No job with this id exists in the queue."""


class JobStateError(GlideMQError):
    """The job is in a state from which the requested transition is not legal."""


class LeaseLostError(GlideMQError):
    """The job's lease belongs to somebody else now; the outcome was refused and nothing changed."""


class StreamGapError(GlideMQError):
    """Chunks of a job's stream were trimmed or have expired before they were read.

    `last_id` is the id of the last one that is gone: reading on from it gives what is left.
    """

    def __init__(self, message: str, last_id: str = "0-0") -> None:
        super().__init__(message)
        self.last_id = last_id


class JobTimeoutError(GlideMQError, TimeoutError):
    """A job did not finish within its `timeout`, or was not finished within the time waited for it."""


class JobFailedError(GlideMQError):
    """Raised by waiting calls when the awaited job failed; carries its failed reason."""


class JobAbortedError(GlideMQError):
    """Raised by `job.abort_signal.raise_if_aborted()`: the job was revoked, timed out, or lost its lease."""


# -- raised by processors to steer the runtime
# ---------------------------------------------------------------------


class UnrecoverableError(GlideMQError):
    """Raise in a processor: the job fails for good, whatever attempts remain."""


class DetourError(GlideMQError):
    """Base of what a processor raises to end a run without an outcome: its job waits for something and runs again.

    No attempt is charged, and no event says `failed`.
    """


class DelayedError(DetourError):
    """Raise in a processor: the job goes on at `delayed_until`, from the top of the processor, without being charged.

    `job.move_to_delayed(…)` raises it once the server has been told. delayed_until: epoch seconds or an aware datetime.
    Raises ValidationError for what is no point in time.
    """

    def __init__(self, delayed_until: datetime | float) -> None:
        super().__init__("Job moved to delayed state")
        if not _is_instant(delayed_until):
            raise ValidationError(
                "DelayedError requires a finite Unix timestamp in seconds >= 0, or an aware datetime"
            )
        self.delayed_until = delayed_until


class RateLimitError(DetourError):
    """Raise in a processor: what it calls wants to be left alone for a while.

    The job is put off for `duration` (seconds or timedelta) without being charged, and the worker, or all actor
    processes of the host together, start no other job of the queue until then. Without a duration it is that of the
    processor's `limiter`, else one second. Raises ValidationError for a duration that is none.
    """

    def __init__(self, duration: float | timedelta | None = None) -> None:
        super().__init__("rate limited")
        if duration is not None and not _is_positive_duration(duration):
            raise ValidationError("RateLimitError requires a positive finite duration in seconds")
        self.duration = duration


class WaitingChildrenError(DetourError):
    """Raise in a processor: the job waits, without a slot, until all its children have ended, and runs again then.

    `job.move_to_waiting_children()` raises it once the server has been told. If no child is left to wait for, the job
    runs again at once.
    """

    def __init__(self) -> None:
        super().__init__("Job moved to waiting-children state")


class GroupRateLimitError(DetourError):
    """Raise in a processor: the job's group is paused, and the job is parked without being charged.

    The same as `job.rate_limit_group(…)`, which describes the arguments. Raises ValidationError for a duration that is
    none, and for an unknown word.
    """

    def __init__(
        self,
        duration: float | timedelta,
        *,
        current_job: Literal["requeue", "fail"] = "requeue",
        requeue_position: Literal["front", "back"] = "front",
        extend: Literal["max", "replace"] = "max",
    ) -> None:
        super().__init__("group rate limited")
        if not _is_positive_duration(duration):
            raise ValidationError("GroupRateLimitError requires a positive finite duration in seconds")
        check_word("current_job", current_job, ("requeue", "fail"))
        check_word("requeue_position", requeue_position, ("front", "back"))
        check_word("extend", extend, ("max", "replace"))
        self.duration = duration
        self.current_job: Literal["requeue", "fail"] = current_job
        self.requeue_position: Literal["front", "back"] = requeue_position
        self.extend: Literal["max", "replace"] = extend


class SuspendError(DetourError):
    """Raise in a processor: the job waits for a signal, and its processor then runs again from the start.

    The same as `job.suspend(…)`, which describes the arguments, and which raises it.
    """

    def __init__(
        self,
        reason: str | None = None,
        timeout: float | timedelta = 0,
        on_resume: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__("Job suspended")
        self.reason = reason
        self.timeout = timeout
        self.on_resume = on_resume


def check_word(name: str, word: object, known: tuple[str, str]) -> None:
    """Raise ValidationError unless the argument `name` is one of two words."""
    if word not in known:
        raise ValidationError(f"{name} must be {known[0]!r} or {known[1]!r}, not {word!r:.40}")


def _is_positive_duration(value: object) -> bool:
    """Whether this is a duration at all; how long it may be is checked where it is used."""
    if isinstance(value, timedelta):
        return value > timedelta()
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


class BatchError(GlideMQError):
    """Raise in a batch processor: its jobs have ended differently.

    results: for each job, in the order of the batch, its result or the exception with which it failed; jobs without
    one fail. Each failure follows its own job's rules for retries.
    """

    def __init__(self, results: Iterable[object]) -> None:
        super().__init__("Batch processor reported per-job results")
        self.results: tuple[object, ...] = tuple(results)


def _is_instant(value: object) -> bool:
    """Whether this is a point in time from 1970 on."""
    if isinstance(value, datetime):
        return value.utcoffset() is not None and value.timestamp() >= 0
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


# -- processes
# -----------------------------------------------------------------------------------------------------


class ProcessError(GlideMQError):
    """A process of the runtime could not be started or died; says which and what happens next."""


class SharedMemoryError(GlideMQError):
    """A shared-memory segment could not be created, attached or trusted."""


class RingCorruptionError(SharedMemoryError):
    """A committed ring record failed its checksum twice: the segment is not used any more."""
