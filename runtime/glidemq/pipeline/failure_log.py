"""What the log says about runs that have failed: one line, and as `exc_info` where the user's code was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, TypeAlias

import glidemq
from glidemq.errors import (
    GlideMQError,
    JobAbortedError,
    JobTimeoutError,
    PayloadValidationError,
    UnrecoverableError,
)
from glidemq.pipeline.outcome import JobOptionsOnWire, reason_of

log = logging.getLogger("glidemq.processor")

ExceptionInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType]

HEADLINE_CHARACTERS: Final = 1000
# Frames of these files say nothing about why a processor failed.
_OWN_FILES: Final = str(Path(glidemq.__file__).parent)
# What is raised to end a job, or explains itself: where it was raised is no news.
_WITHOUT_TRACEBACK: Final = (UnrecoverableError, JobAbortedError, JobTimeoutError, PayloadValidationError)


def log_failure(
    queue: str, job_id: bytes, attempts_made: int, options: JobOptionsOnWire, error: BaseException
) -> None:
    """One line for an attempt that raised; `attempts_made` were made before it."""
    log.warning(
        "job %s of %r failed, %s: %s",
        job_id.decode(errors="replace"),
        queue,
        _attempt(attempts_made, options),
        summary_of(error),
        exc_info=traceback_of(error),
    )


def log_dropped_result(queue: str, job_id: bytes) -> None:
    """One line for a processor that has returned something although its job had left the run by a call of its own."""
    log.warning(
        "job %s of %r returned a result, which is dropped: it had ended its run before, by a call such as job.suspend"
        " (does the processor catch what that raises? Let it through)",
        job_id.decode(errors="replace"),
        queue,
    )


def log_overrun(
    queue: str,
    job_id: bytes,
    attempts_made: int,
    options: JobOptionsOnWire,
    timeout_ms: int,
    interruption: BaseException | None,
) -> None:
    """One line for an attempt that was stopped for its timeout, where `interruption`, if any, has found it."""
    log.warning(
        "job %s of %r overran its timeout of %.3g s, %s",
        job_id.decode(errors="replace"),
        queue,
        timeout_ms / 1000,
        _attempt(attempts_made, options),
        exc_info=traceback_of(interruption),
    )


def _attempt(attempts_made: int, options: JobOptionsOnWire) -> str:
    number, most = attempts_made + 1, max(options.attempts, 1)
    # What was retried by hand may have made more of them than it was given.
    return f"attempt {number} of {most}" if number <= most else f"attempt {number}"


def summary_of(error: BaseException) -> str:
    """The error in one line, however long its message is."""
    return f"{type(error).__name__}: {reason_of(error):.{HEADLINE_CHARACTERS}}"


def traceback_of(error: BaseException | None) -> ExceptionInfo | None:
    """Where the user's code was when `error` was raised, in the form of `exc_info`; None where that tells nothing.

    Frames of ours are left out at its beginning; for refusals of our own and for interruptions at its end as well.
    """
    if error is None or isinstance(error, _WITHOUT_TRACEBACK):
        return None
    kept = list(_entries(error.__traceback__))
    while kept and _is_ours(kept[0]):
        del kept[0]
    if isinstance(error, GlideMQError) or not isinstance(error, Exception):
        while kept and _is_ours(kept[-1]):
            del kept[-1]
    frames: TracebackType | None = None
    for entry in reversed(kept):
        frames = TracebackType(frames, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return None if frames is None else (type(error), error, frames)


def _entries(frames: TracebackType | None) -> Iterator[TracebackType]:
    while frames is not None:
        yield frames
        frames = frames.tb_next


def _is_ours(entry: TracebackType) -> bool:
    return entry.tb_frame.f_code.co_filename.startswith(_OWN_FILES)
