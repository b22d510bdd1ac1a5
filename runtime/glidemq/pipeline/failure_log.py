"""What the log says about runs that have failed."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from types import TracebackType

import glidemq
from glidemq.errors import GlideMQError
from glidemq.pipeline.outcome import JobOptionsOnWire, reason_of

log = logging.getLogger("glidemq.processor")

# Frames of these files say nothing about why a processor failed.
_OWN_FILES = str(Path(glidemq.__file__).parent)


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
        "job %s of %r overran its timeout of %.3g s, %s%s",
        job_id.decode(errors="replace"),
        queue,
        timeout_ms / 1000,
        _attempt(attempts_made, options),
        place_of(interruption),
    )


def _attempt(attempts_made: int, options: JobOptionsOnWire) -> str:
    number, most = attempts_made + 1, max(options.attempts, 1)
    # What was retried by hand may have made more of them than it was given.
    return f"attempt {number} of {most}" if number <= most else f"attempt {number}"


def summary_of(error: BaseException) -> str:
    """The traceback of the user's code; one line for our own refusals, which explain themselves."""
    if isinstance(error, GlideMQError):
        return f"{type(error).__name__}: {reason_of(error)}"
    return "".join(traceback.format_exception(type(error), error, _users(error.__traceback__))).rstrip()


def place_of(interruption: BaseException | None) -> str:
    """Where the user's code was when it was interrupted, to be added to a sentence; "" if nobody knows."""
    frames = None if interruption is None else _users(interruption.__traceback__)
    if frames is None:
        return ""
    stack = traceback.extract_tb(frames)
    while _is_ours(stack[-1].filename):  # the handler that raised the interruption
        stack.pop()
    return f", while it was here:\n{''.join(traceback.format_list(stack)).rstrip()}"


def _users(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return frames


def _is_ours(filename: str) -> bool:
    return filename.startswith(_OWN_FILES)
