"""From what a processor returned or raised to the row that the server is told."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, NamedTuple, cast

from glidemq.commands.fail import UNCHARGED, FailureRow
from glidemq.commands.size_limit import MAX_TEXT_BYTES
from glidemq.commands.step import CompletionRow, Retain
from glidemq.errors import PayloadValidationError, UnrecoverableError
from glidemq.job.stored_values import json_object
from glidemq.options import BackoffStrategy, duration_ms
from glidemq.options.backoff import BUILT_IN, NO_STRATEGIES
from glidemq.options.fallbacks import error_names, follows_errors

log = logging.getLogger("glidemq.processor")

TIMEOUT_REASON: Final = "Job timeout exceeded"
BATCH_TIMEOUT_REASON: Final = "Batch timeout exceeded"
RATE_LIMITED_REASON: Final = "rate limited"
# Due times must stay below the scheduled set's priority classes: ten years is for ever.
LONGEST_DELAY_MS: Final = 315_360_000_000
MOST_DOUBLINGS: Final = 64
# Options are stored as JSON, whose numbers have no limit; those in a row have 64 bits.
LARGEST_NUMBER: Final = 2**53
MAX_ERROR_NAME: Final = 100


# What stands for the number of tokens where the processor named none.
SILENT: Final = -1
NOTHING_LEARNED: Final = -2


class JobOutcome(NamedTuple):
    """A packed row and what the runtime must know about it without unpacking it.

    urgent: somebody waits for this outcome (a parent, a group, a retry), so it is reported without waiting for
    company. tokens: what the processor said that the job has used; SILENT, or NOTHING_LEARNED when the run was not
    its last, if it did not say.
    """

    succeeded: bool
    row: bytes
    urgent: bool
    tokens: int = SILENT


class JobOptionsOnWire:
    """The options of one job that decide what follows its end, read from the stored `opts` JSON (wire-format 2.2.2)."""

    __slots__ = (
        "attempts",
        "backoff",
        "follows_errors",
        "remove_on_complete",
        "remove_on_fail",
        "timeout_ms",
    )

    def __init__(self, raw: bytes) -> None:
        options = json_object(raw)
        self.attempts = _whole_number(options.get("attempts"))
        self.timeout_ms = _whole_number(options.get("timeout"))
        self.backoff: object = options.get("backoff")
        self.follows_errors = follows_errors(options.get("fallbacks"))
        self.remove_on_complete = retention(options.get("removeOnComplete"))
        self.remove_on_fail = retention(options.get("removeOnFail"))


def _whole_number(value: object) -> int:
    return (
        _whole(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else 0
    )


def _whole(value: float) -> int:
    return int(min(value, LARGEST_NUMBER))


def retention(option: object) -> Retain:
    """`removeOnComplete` / `removeOnFail` as the server library takes it: False keeps the job for ever."""
    if option is True:
        return True
    if isinstance(option, bool) or option is None:
        return False
    if isinstance(option, (int, float)):
        return _whole(option) if option > 0 else False
    if isinstance(option, dict):
        limits = cast("dict[str, object]", option)
        return (_positive(limits.get("age")), _positive(limits.get("count")))
    return False


def _positive(value: object) -> int | bool:
    return (
        _whole(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
        else False
    )


# Most jobs carry no options: they share this one.
NO_OPTIONS: Final = JobOptionsOnWire(b"{}")


def read_options(raw: bytes) -> JobOptionsOnWire:
    """The options of a job from its stored JSON; malformed ones count as none."""
    return NO_OPTIONS if raw == b"{}" else JobOptionsOnWire(raw)


def completed(
    fence: tuple[bytes, bytes, int, bytes], return_value: bytes, options: JobOptionsOnWire, *, urgent: bool
) -> JobOutcome:
    """The outcome of a processor that returned; `fence` is (id, token, processed_on, entry_id)."""
    return JobOutcome(True, CompletionRow.pack(*fence, return_value, options.remove_on_complete), urgent)


def settled(fence: tuple[bytes, bytes, int, bytes]) -> JobOutcome:
    """The outcome of a run that a detour has ended before: it frees the lease and changes nothing at the server.

    It names the spent token, so that it is not taken for the word of one who lost the lease when the job runs again.
    """
    job_id, token, processed_on, entry_id = fence
    row = CompletionRow.pack(job_id, b"-" + token, processed_on, entry_id, b"null", False)
    return JobOutcome(True, row, urgent=True, tokens=NOTHING_LEARNED)


def put_off(fence: tuple[bytes, bytes, int, bytes], delay_ms: int) -> JobOutcome:
    """The outcome of a run that hit a rate limit: the job comes again after the delay, and is not charged."""
    row = FailureRow.pack(*fence, RATE_LIMITED_REASON, UNCHARGED, delay_ms, False)
    return JobOutcome(False, row, urgent=True)


def delay_ms_of(duration: float | timedelta) -> int:
    """A positive duration in whole milliseconds, at least one; what is too long to be stored is ten years."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    return max(round(min(seconds * 1000, LONGEST_DELAY_MS)), 1)


def failed(
    fence: tuple[bytes, bytes, int, bytes],
    reason: str,
    options: JobOptionsOnWire,
    *,
    attempts_made: int,
    error: BaseException | None = None,
    for_good: bool = False,
    strategies: Mapping[str, BackoffStrategy] = NO_STRATEGIES,
) -> JobOutcome:
    """The outcome of a processor that raised, or that was stopped.

    attempts_made: as stored when this attempt began, so this is failure number `attempts_made + 1`. The server
    decides between a retry and the end by its own count.
    """
    final = for_good or isinstance(error, (UnrecoverableError, PayloadValidationError))
    max_attempts = 0 if final else options.attempts
    delay_ms = 0
    if max_attempts > attempts_made + 1:
        delay_ms = backoff_ms(options.backoff, attempts_made + 1, error, strategies)
    name = "" if error is None else type(error).__name__[:MAX_ERROR_NAME]
    # Nobody raised anything where a job was stopped from outside: it had overrun its timeout.
    kinds = error_names(error or TimeoutError()) if options.follows_errors else None
    row = FailureRow.pack(*fence, reason, max_attempts, delay_ms, options.remove_on_fail, name, kinds)
    return JobOutcome(False, row, True)


def backoff_ms(
    backoff: object,
    failures: int,
    error: BaseException | None = None,
    strategies: Mapping[str, BackoffStrategy] = NO_STRATEGIES,
) -> int:
    """Milliseconds until the next attempt after failure number `failures` (wire-format 5.8)."""
    if not isinstance(backoff, dict):
        return 0
    rule = cast("dict[str, object]", backoff)
    kind = rule.get("type")
    strategy = strategies.get(kind) if isinstance(kind, str) else None
    if strategy is not None and error is not None:
        try:
            return min(
                duration_ms(strategy(failures, error), f"what strategy {kind!r} returned"), LONGEST_DELAY_MS
            )
        except Exception:
            log.exception("back-off strategy %r failed: the job waits for its fixed delay", kind)
    elif error is not None and kind not in BUILT_IN:
        log.warning(
            "a job asks for back-off strategy %r, which its processor does not have (backoff_strategies: %s): it waits"
            " for its fixed delay",
            kind,
            ", ".join(strategies) or "none",
        )
    delay = rule.get("delay")
    delay_ms = float(delay) if isinstance(delay, (int, float)) and delay > 0 else 0.0
    if kind == "exponential":
        delay_ms *= 2.0 ** min(failures - 1, MOST_DOUBLINGS)
    jitter = rule.get("jitter")
    if isinstance(jitter, (int, float)) and jitter > 0:
        delay_ms += random.random() * jitter * delay_ms  # noqa: S311 - spreads retries, guards nothing
    return round(min(delay_ms, LONGEST_DELAY_MS))


def reason_of(error: BaseException) -> str:
    """What is stored as `failedReason`: the message alone, as the reference does; the type where there is none.

    It always fits into a row: valid Unicode, at most 1 MiB.
    """
    try:
        text = str(error)
    except Exception:  # the user's own __str__
        text = ""
    text = text or type(error).__name__
    if text.isascii() and len(text) <= MAX_TEXT_BYTES:
        return text
    return text.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")
