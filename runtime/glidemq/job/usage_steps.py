"""Reporting what a job has used, for `Job` and `SyncJob`."""

from __future__ import annotations

import contextlib
from math import ceil
from typing import Final

from glidemq.commands.keys import usage_queues_key
from glidemq.commands.note_usage_queue import NoteUsageQueueCommand
from glidemq.commands.report_usage import ReportUsageCommand, UsageRefusal, UsageReported
from glidemq.errors import ConnectionError, JobNotFoundError, LeaseLostError, UsageBusyError
from glidemq.job.stepping import Pause, Steps
from glidemq.options.token_limiter import MAX_TOKENS
from glidemq.options.usage import UsageReport

# A Node client holds its lock for the time of two round trips, and a dead one's goes after 5 s.
LOCK_RETRY_S: Final = 0.025
LOCK_TRIES: Final = 201


def tokens_of(report: UsageReport) -> int:
    """What a report counts for in a token limiter; 0 when it says nothing of tokens."""
    return min(ceil(report.usage.get("totalTokens") or 0), MAX_TOKENS)


def report_usage_steps(queue_key: str, job_id: str, token: bytes, report: UsageReport) -> Steps[bytes]:
    """Take a report down; the job's usage from now on, as JSON."""
    command = ReportUsageCommand(queue_key, job_id=job_id, token=token, report=report)
    prefix, _, queue = queue_key.removesuffix("}:meta").partition(":{")
    for _ in range(LOCK_TRIES):
        result: UsageReported | UsageRefusal = yield command
        if isinstance(result, UsageReported):
            if result.opens_bucket:  # so that a queue that was forgotten is remembered within a minute
                # The report stands: an attempt must not fail because another node of a cluster is away.
                with contextlib.suppress(ConnectionError):
                    yield NoteUsageQueueCommand(usage_queues_key(prefix), queue=queue)
            return result.usage
        if result is UsageRefusal.MISSING:
            raise JobNotFoundError(f"job {job_id} does not exist in queue {queue!r} (any more)")
        if result is UsageRefusal.LEASE_LOST:
            raise LeaseLostError(f"job {job_id} of queue {queue!r} was started by somebody else since")
        yield Pause(LOCK_RETRY_S)
    raise UsageBusyError("report_usage lock timeout; try again")
