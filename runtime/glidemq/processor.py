"""A function that processes jobs, and how it is to be run."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal

from glidemq.commands.rate_limit import RateLimitOnWire, limiter_member
from glidemq.config.pools import DEFAULT_POOL
from glidemq.errors import ConfigurationError
from glidemq.job import Job, SyncJob
from glidemq.job.record import In, Out
from glidemq.options import BackoffStrategy, BatchRule
from glidemq.options.backoff import NO_STRATEGIES
from glidemq.options.dead_letter_queue import DeadLetterQueueOnWire, dead_letter_queue_to_plain
from glidemq.options.estimates import RunEstimate
from glidemq.options.token_limiter import QueueLimits
from glidemq.payload import Payload
from glidemq.serializer import JSON_SERIALIZER, Serializer

Role = Literal["sync", "async"]


@dataclass(frozen=True)
class Processor(Generic[In, Out]):
    """A function and how it is to be run. Made by `App.processor`.

    role: "async" for `async def` (many at once on an event loop), "sync" for plain `def` (one at a time on
        the main thread of an actor process).
    timeout_ms, lock_duration_ms: for jobs without options of their own; None: the runtime's defaults.
    backoff_strategies: the waits between attempts that jobs may ask for by name.
    pool: the actor processes that run it. weight: its queue's share of these, beside the pool's other queues.
    batch: the function takes a list of jobs; None: one job.
    limiter: how many jobs may start per window; None: as many as the queue's own limits let.
    dead_letters: the queue's dead letter queue, if the app names one.
    limits: what its jobs may use per window of time; None: no limit.
    estimate: what jobs are taken to use that state nothing; None: nothing is known.
    """

    queue: str
    function: Callable[[Any], Any]
    role: Role
    concurrency: int = 1
    timeout_ms: int | None = None
    lock_duration_ms: int | None = None
    serializer: Serializer = JSON_SERIALIZER
    backoff_strategies: Mapping[str, BackoffStrategy] = field(
        default_factory=lambda: NO_STRATEGIES, hash=False
    )
    pool: str = DEFAULT_POOL
    weight: int = 1
    batch: BatchRule | None = None
    limiter: RateLimitOnWire | None = None
    dead_letters: DeadLetterQueueOnWire | None = None
    limits: QueueLimits | None = None
    estimate: RunEstimate | None = field(default=None, hash=False)

    @property
    def place(self) -> str:
        """Where the function is defined, for messages: `thumbnail (app.py:12)`."""
        return place_of(self.function)

    @cached_property
    def payload(self) -> Payload:
        """How job data becomes what the function's annotation says, and results become text.

        Built at first use, since an annotation may name what is defined further down in its module.

        Raises:
            ConfigurationError: the annotation cannot be resolved or validated into.
        """
        try:
            return Payload(self.serializer, data_type_of(self.function, in_list=self.batch is not None))
        except ConfigurationError as error:
            raise ConfigurationError(f"processor of queue {self.queue!r}, {self.place}: {error}") from None

    def manifest(self) -> dict[str, Any]:
        """What the supervisor and the gateway must know of it, as plain data. Raises as `payload` does."""
        return {
            "name": self.queue,
            "role": self.role,
            "pool": self.pool,
            "weight": self.weight,
            "concurrency": self.concurrency,
            "timeout_ms": self.timeout_ms,
            "lock_duration_ms": self.lock_duration_ms,
            "batch": None if self.batch is None else list(self.batch),
            "limiter": limiter_member(self.limiter),
            "dead_letter_queue": dead_letter_queue_to_plain(self.dead_letters),
            "limits": self.limits.manifest() if self.limits else None,
            "estimate": self.estimate.member() if self.estimate else None,
            "validates": self.payload.validates,
            "function": self.place,
        }


def check_function(queue: str, function: object) -> None:
    """Raise ConfigurationError for what cannot process a queue's jobs."""
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise ConfigurationError(
            f"processor of queue {queue!r} must be a function, not {type(function).__name__}:"
            " a def or an async def"
        )
    place = place_of(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(
            f"processor of queue {queue!r}, {place}, is a generator function: return the result instead"
            " of yielding it (job.log and job.update_progress report from within)"
        )
    try:
        inspect.signature(function).bind(object())
    except TypeError:
        raise ConfigurationError(
            f"processor of queue {queue!r}, {place}, must be callable with one argument, the job"
        ) from None


def data_type_of(function: Callable[..., Any], *, in_list: bool = False) -> Any:
    """The `In` of the first parameter's annotation `Job[In, Out]` or `SyncJob[In, Out]`; Any without one.

    in_list: the annotation is that of a batch, `list[Job[In, Out]]`.

    Raises:
        ConfigurationError: the annotation names something that does not exist at run time, or no job.
    """
    parameter = next(iter(inspect.signature(function).parameters.values()))
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return Any
    scope: dict[str, Any] = getattr(inspect.unwrap(function), "__globals__", {})
    # glidemq's own names are known even where they are imported for type checkers alone.
    known = {"Job": Job, "SyncJob": SyncJob, "glidemq": _GlidemqNames, **scope}
    holder = type("annotated", (), {"__annotations__": {"job": annotation}})
    try:
        hint = typing.get_type_hints(holder, known)["job"]
    except NameError as error:
        raise ConfigurationError(
            f"its annotation cannot be resolved: {error}. Define it at module level and import it outside"
            " TYPE_CHECKING, so that data can be validated into it"
        ) from None
    if in_list and typing.get_origin(hint) in (list, Sequence):
        hint = (*typing.get_args(hint), Any)[0]
    elif in_list and hint not in (Any, object, list):
        raise ConfigurationError("its first parameter is a batch of jobs: annotate it list[Job[…, …]]")
    elif in_list:
        return Any
    kind = typing.get_origin(hint) or hint
    if kind in (Job, SyncJob):
        return (*typing.get_args(hint), Any)[0]
    if hint in (Any, object):
        return Any
    name = getattr(hint, "__name__", None) or str(hint)
    raise ConfigurationError(
        f"its first parameter is annotated {name}, but a processor is called with a job:"
        f" annotate it Job[{name}, …] and use job.data"
    )


class _GlidemqNames:
    """What an annotation means by glidemq.Job where the module is imported for type checkers alone."""

    Job = Job
    SyncJob = SyncJob


def place_of(function: Any) -> str:
    """Where a function is defined, for messages: `thumbnail (app.py:12)`."""
    plain = inspect.unwrap(function)
    code = getattr(plain, "__code__", None)
    name = getattr(plain, "__qualname__", repr(plain))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name
