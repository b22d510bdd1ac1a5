"""What a caller may say about a job: durations, names and job options, checked before anything is sent."""

from glidemq.options.backoff import Backoff, BackoffStrategy
from glidemq.options.batch import Batch, BatchRule, batch_rule
from glidemq.options.budget import Budget, FlowBudget
from glidemq.options.dead_letter_queue import DeadLetterQueue
from glidemq.options.deduplication import Deduplication, DeduplicationMode
from glidemq.options.durations import Duration, duration_ms
from glidemq.options.fallbacks import Fallback
from glidemq.options.job_options import (
    NO_OPTIONS,
    JobOptions,
    OnFailure,
    PlainJobOptions,
    WireOptions,
    from_wire,
    to_wire,
)
from glidemq.options.limit_key import LimitKey
from glidemq.options.names import check_job_id, check_job_name, check_prefix, check_queue_name
from glidemq.options.ordering import Ordering, TokenBucket
from glidemq.options.parents import ParentJob
from glidemq.options.rate_limit import RateLimit
from glidemq.options.retention import Retention
from glidemq.options.schedule import Instant, JobTemplate, Schedule, check_scheduler_name
from glidemq.options.scheduler_entry import RepeatableJob, SchedulerEntry
from glidemq.options.token_limiter import TokenLimiter
from glidemq.options.usage import JobUsage

__all__ = [
    "NO_OPTIONS",
    "Backoff",
    "BackoffStrategy",
    "Batch",
    "BatchRule",
    "Budget",
    "DeadLetterQueue",
    "Deduplication",
    "DeduplicationMode",
    "Duration",
    "Fallback",
    "FlowBudget",
    "Instant",
    "JobOptions",
    "JobTemplate",
    "JobUsage",
    "LimitKey",
    "OnFailure",
    "Ordering",
    "ParentJob",
    "PlainJobOptions",
    "RateLimit",
    "RepeatableJob",
    "Retention",
    "Schedule",
    "SchedulerEntry",
    "TokenBucket",
    "TokenLimiter",
    "WireOptions",
    "batch_rule",
    "check_job_id",
    "check_job_name",
    "check_prefix",
    "check_queue_name",
    "check_scheduler_name",
    "duration_ms",
    "from_wire",
    "to_wire",
]
