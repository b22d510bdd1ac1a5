"""glidemq: a Valkey job queue for AI and CPU-bound work.

Public names are loaded when they are first used: importing the package costs nothing, and none of them
imports the server client until something connects.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glidemq import limits
    from glidemq.app import App
    from glidemq.client.broadcast import Broadcast
    from glidemq.client.dead_letter_summary import DeadLetterSummary, FailureClass, ReplayStatistics
    from glidemq.client.events import (
        AddedEvent,
        BudgetExceededEvent,
        CompletedEvent,
        CountEvent,
        DelayChangedEvent,
        Event,
        FailedEvent,
        GroupRateLimitedEvent,
        PriorityChangedEvent,
        ProgressEvent,
        ResumedEvent,
        RetryingEvent,
        UsageEvent,
    )
    from glidemq.client.flow_jobs import DagNode, FlowJob
    from glidemq.client.flow_producer import FlowProducer, JobNode
    from glidemq.client.flow_shapes import chain, chord, dag, group
    from glidemq.client.graph_order import topo_sort, validate_dag
    from glidemq.client.job_logs import JobLogs
    from glidemq.client.producer import Producer
    from glidemq.client.queue import Queue
    from glidemq.client.queue_events import QueueEvents
    from glidemq.client.queue_report import Metrics, MetricsPoint, WorkerInfo
    from glidemq.client.queue_streams import StreamEntry
    from glidemq.client.queue_vectors import VectorMatch
    from glidemq.client.serverless_pool import ServerlessPool, serverless_pool
    from glidemq.client.usage_reading import get_usage_summary
    from glidemq.client.usage_totals import UsageSummary, UsageTotals
    from glidemq.config import ConnectionOptions
    from glidemq.connection import SharedClient
    from glidemq.errors import (
        AuthenticationError,
        BatchError,
        ClosedError,
        ConfigurationError,
        ConnectionError,
        CycleError,
        DelayedError,
        DetourError,
        GlideMQError,
        GroupRateLimitError,
        JobAbortedError,
        JobFailedError,
        JobNotFoundError,
        JobStateError,
        JobTimeoutError,
        LeaseLostError,
        LibraryVersionError,
        PayloadValidationError,
        QueueFullError,
        RateLimitError,
        SchedulerBusyError,
        SearchUnavailableError,
        SerializationError,
        ServerError,
        StreamGapError,
        SuspendError,
        UnknownOutcomeError,
        UnrecoverableError,
        UsageBusyError,
        ValidationError,
        WaitingChildrenError,
    )
    from glidemq.job import AbortSignal, Job, Signal, SuspendInfo, SyncJob
    from glidemq.options import (
        Backoff,
        BackoffStrategy,
        Batch,
        Budget,
        DeadLetterQueue,
        Deduplication,
        Duration,
        Fallback,
        FlowBudget,
        JobOptions,
        JobTemplate,
        JobUsage,
        LimitKey,
        OnFailure,
        Ordering,
        ParentJob,
        RateLimit,
        RepeatableJob,
        Retention,
        Schedule,
        SchedulerEntry,
        TokenBucket,
        TokenLimiter,
    )
    from glidemq.options.subjects import compile_subject_matcher, match_subject
    from glidemq.options.vectors import IndexField, VectorField
    from glidemq.processor import Processor
    from glidemq.serializer import JSON_SERIALIZER, Serializer
    from glidemq.shutdown import GracefulShutdown, graceful_shutdown
    from glidemq.worker import BroadcastWorker, Worker

_HOMES = {
    "glidemq.app": ("App",),
    "glidemq.client.broadcast": ("Broadcast",),
    "glidemq.client.events": (
        "AddedEvent",
        "BudgetExceededEvent",
        "CompletedEvent",
        "CountEvent",
        "DelayChangedEvent",
        "Event",
        "FailedEvent",
        "GroupRateLimitedEvent",
        "PriorityChangedEvent",
        "ProgressEvent",
        "ResumedEvent",
        "RetryingEvent",
        "UsageEvent",
    ),
    "glidemq.client.flow_jobs": ("DagNode", "FlowJob"),
    "glidemq.client.flow_producer": ("FlowProducer", "JobNode"),
    "glidemq.client.flow_shapes": ("chain", "chord", "dag", "group"),
    "glidemq.client.graph_order": ("topo_sort", "validate_dag"),
    "glidemq.client.dead_letter_summary": ("DeadLetterSummary", "FailureClass", "ReplayStatistics"),
    "glidemq.client.job_logs": ("JobLogs",),
    "glidemq.client.producer": ("Producer",),
    "glidemq.client.queue": ("Queue",),
    "glidemq.client.queue_events": ("QueueEvents",),
    "glidemq.client.queue_report": ("Metrics", "MetricsPoint", "WorkerInfo"),
    "glidemq.client.queue_vectors": ("VectorMatch",),
    "glidemq.client.queue_streams": ("StreamEntry",),
    "glidemq.client.serverless_pool": ("ServerlessPool", "serverless_pool"),
    "glidemq.client.usage_reading": ("get_usage_summary",),
    "glidemq.client.usage_totals": ("UsageSummary", "UsageTotals"),
    "glidemq.config": ("ConnectionOptions",),
    "glidemq.connection": ("SharedClient",),
    "glidemq.errors": (
        "AuthenticationError",
        "BatchError",
        "ClosedError",
        "ConfigurationError",
        "ConnectionError",
        "CycleError",
        "DelayedError",
        "DetourError",
        "GlideMQError",
        "GroupRateLimitError",
        "JobAbortedError",
        "JobFailedError",
        "JobNotFoundError",
        "JobStateError",
        "JobTimeoutError",
        "LeaseLostError",
        "LibraryVersionError",
        "PayloadValidationError",
        "QueueFullError",
        "RateLimitError",
        "SchedulerBusyError",
        "SerializationError",
        "SearchUnavailableError",
        "ServerError",
        "SuspendError",
        "StreamGapError",
        "UnknownOutcomeError",
        "UnrecoverableError",
        "UsageBusyError",
        "ValidationError",
        "WaitingChildrenError",
    ),
    "glidemq.job": ("AbortSignal", "Job", "Signal", "SuspendInfo", "SyncJob"),
    "glidemq.options": (
        "Backoff",
        "BackoffStrategy",
        "DeadLetterQueue",
        "Deduplication",
        "Batch",
        "Budget",
        "Duration",
        "Fallback",
        "FlowBudget",
        "JobOptions",
        "JobTemplate",
        "OnFailure",
        "JobUsage",
        "LimitKey",
        "Ordering",
        "ParentJob",
        "RateLimit",
        "RepeatableJob",
        "Retention",
        "Schedule",
        "SchedulerEntry",
        "TokenBucket",
        "TokenLimiter",
    ),
    "glidemq.options.vectors": ("IndexField", "VectorField"),
    "glidemq.options.subjects": ("compile_subject_matcher", "match_subject"),
    "glidemq.processor": ("Processor",),
    "glidemq.serializer": ("JSON_SERIALIZER", "Serializer"),
    "glidemq.shutdown": ("GracefulShutdown", "graceful_shutdown"),
    "glidemq.worker": ("BroadcastWorker", "Worker"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__version__: str
__all__ = [
    "JSON_SERIALIZER",
    "AbortSignal",
    "AddedEvent",
    "App",
    "AuthenticationError",
    "Backoff",
    "BackoffStrategy",
    "Batch",
    "BatchError",
    "Broadcast",
    "BroadcastWorker",
    "Budget",
    "BudgetExceededEvent",
    "ClosedError",
    "CompletedEvent",
    "ConfigurationError",
    "ConnectionError",
    "ConnectionOptions",
    "CountEvent",
    "CycleError",
    "DagNode",
    "DeadLetterQueue",
    "DeadLetterSummary",
    "Deduplication",
    "DelayChangedEvent",
    "DelayedError",
    "DetourError",
    "Duration",
    "Event",
    "FailedEvent",
    "FailureClass",
    "Fallback",
    "FlowBudget",
    "FlowJob",
    "FlowProducer",
    "GlideMQError",
    "GracefulShutdown",
    "GroupRateLimitError",
    "GroupRateLimitedEvent",
    "IndexField",
    "Job",
    "JobAbortedError",
    "JobFailedError",
    "JobLogs",
    "JobNode",
    "JobNotFoundError",
    "JobOptions",
    "JobStateError",
    "JobTemplate",
    "JobTimeoutError",
    "JobUsage",
    "LeaseLostError",
    "LibraryVersionError",
    "LimitKey",
    "Metrics",
    "MetricsPoint",
    "OnFailure",
    "Ordering",
    "ParentJob",
    "PayloadValidationError",
    "PriorityChangedEvent",
    "Processor",
    "Producer",
    "ProgressEvent",
    "Queue",
    "QueueEvents",
    "QueueFullError",
    "RateLimit",
    "RateLimitError",
    "RepeatableJob",
    "ReplayStatistics",
    "ResumedEvent",
    "Retention",
    "RetryingEvent",
    "Schedule",
    "SchedulerBusyError",
    "SchedulerEntry",
    "SearchUnavailableError",
    "SerializationError",
    "Serializer",
    "ServerError",
    "ServerlessPool",
    "SharedClient",
    "Signal",
    "StreamEntry",
    "StreamGapError",
    "SuspendError",
    "SuspendInfo",
    "SyncJob",
    "TokenBucket",
    "TokenLimiter",
    "UnknownOutcomeError",
    "UnrecoverableError",
    "UsageBusyError",
    "UsageEvent",
    "UsageSummary",
    "UsageTotals",
    "ValidationError",
    "VectorField",
    "VectorMatch",
    "WaitingChildrenError",
    "Worker",
    "WorkerInfo",
    "__version__",
    "chain",
    "chord",
    "compile_subject_matcher",
    "dag",
    "get_usage_summary",
    "graceful_shutdown",
    "group",
    "limits",
    "match_subject",
    "serverless_pool",
    "topo_sort",
    "validate_dag",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is not None:
        value = getattr(importlib.import_module(home), name)
    elif name == "limits":
        value = importlib.import_module("glidemq.limits")
    elif name == "__version__":
        value = importlib.import_module("importlib.metadata").version("glidemq")
    else:
        raise AttributeError(f"module 'glidemq' has no attribute {name!r}")
    globals()[name] = value  # the next look finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
