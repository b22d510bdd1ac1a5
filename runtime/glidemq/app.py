"""The app: which function processes which queue."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Generic, Literal, cast

from typing_extensions import TypeVar

from glidemq.commands.rate_limit import RateLimitOnWire, limiter_member
from glidemq.config.pools import (
    DEFAULT_POOL,
    Pool,
    PoolSize,
    check_pool_name,
    check_pool_size,
    check_weight,
)
from glidemq.config.suggestion import did_you_mean
from glidemq.errors import ConfigurationError, ValidationError
from glidemq.job import Job, SyncJob
from glidemq.job.record import In, Out
from glidemq.options import (
    BackoffStrategy,
    Batch,
    BatchRule,
    Duration,
    LimitKey,
    RateLimit,
    TokenLimiter,
    batch_rule,
    check_prefix,
    check_queue_name,
    duration_ms,
)
from glidemq.options.backoff import NO_STRATEGIES, check_strategies
from glidemq.options.dead_letter_queue import (
    DeadLetterQueue,
    DeadLetterQueueOnWire,
    dead_letter_queue_on_wire,
    dead_letter_queue_to_plain,
)
from glidemq.options.estimates import (
    CostEstimate,
    RunEstimate,
    TokenEstimate,
    run_estimate,
    tokens_in_all,
)
from glidemq.options.job_options import lock_duration_ms
from glidemq.options.token_limiter import QueueLimits, queue_limits
from glidemq.payload import Payload
from glidemq.serializer import JSON_SERIALIZER, Serializer

Role = Literal["sync", "async"]
F = TypeVar("F", bound=Callable[..., Any])

MAX_CONCURRENCY = 10_000


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
        return _place(self.function)

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


class App:
    """A set of processors, to be run by `glidemq-supervisor module:app`. Making one does no I/O.

    url: the server, where neither the command line nor the environment names one.
    prefix: what all keys start with.
    serializer: for data, results and progress; the same one everywhere.
    Raises ValidationError and ConfigurationError for arguments that cannot work.
    """

    def __init__(
        self, url: str | None = None, *, prefix: str = "glide", serializer: Serializer = JSON_SERIALIZER
    ) -> None:
        if url is not None and not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError("url must be text such as valkey://localhost:6379")
        self.url = url
        self.prefix = check_prefix(prefix)
        self.serializer = Payload(serializer).serializer
        self._processors: dict[str, Processor[Any, Any]] = {}
        self._pools: dict[str, Pool] = {}

    def __repr__(self) -> str:
        return f"<App: {', '.join(map(repr, self._processors)) or 'no processors'}>"

    @property
    def processors(self) -> Mapping[str, Processor[Any, Any]]:
        """Queue name to processor, in the order in which they were declared; read-only."""
        return MappingProxyType(self._processors)

    @property
    def pools(self) -> Mapping[str, Pool]:
        """The pools that `pool` has declared, by name; read-only."""
        return MappingProxyType(self._pools)

    def pool(self, name: str, *, procs: PoolSize | None = None) -> Pool:
        """Declare a pool: actor processes of its own for the processors that name it.

            slow = app.pool("slow", procs=2)

            @app.processor("reports", pool=slow)
            def report(job: SyncJob[Query, Report]) -> Report: ...

        However much slow work piles up, it occupies the processes of its pool and no others. Plain `def` and
        `async def` processors of one pool run in different processes, `procs` of each.

        procs: how many actor processes, or "auto" for one per core; None: what `--procs` says. The command line's
            `--pool slow=4` goes before it. Pools may have more processes together than there are cores.

        Raises ValidationError for a bad name or number, ConfigurationError for a pool that was declared before.

        Source: the queue-design document, on segmenting queues by cost.
        """
        if check_pool_name(name) in self._pools:
            raise ConfigurationError(f"pool {name!r} is declared twice")
        pool = self._pools[name] = Pool(name, check_pool_size(procs))
        return pool

    def processor(
        self,
        queue: str,
        *,
        concurrency: int = 1,
        timeout: Duration | None = None,
        lock_duration: Duration | None = None,
        backoff_strategies: Mapping[str, BackoffStrategy] | None = None,
        pool: str | Pool = DEFAULT_POOL,
        weight: int = 1,
        batch: Batch | Mapping[str, Any] | None = None,
        limiter: RateLimit | Mapping[str, Any] | None = None,
        dead_letter_queue: str | DeadLetterQueue | Mapping[str, Any] | None = None,
        token_limiter: TokenLimiter | Mapping[str, Any] | None = None,
        estimated_tokens: TokenEstimate | None = None,
        estimated_cost: CostEstimate | None = None,
        limit_key: LimitKey | None = None,
    ) -> Callable[[F], F]:
        """Declare the decorated function as the processor of a queue; the function itself is left as it is.

            @app.processor("thumbnails")
            def thumbnail(job: SyncJob[Image, Thumb]) -> Thumb: ...

        The function takes the job and returns the result. A plain `def` is for CPU-bound work, an `async
        def` for I/O-bound work. If its annotation `Job[In, Out]` names a pydantic model, msgspec Struct,
        dataclass or TypedDict (or a type that contains one), `job.data` is validated into it.

        concurrency: how many jobs an actor process runs at once. Above 1 it needs an `async def` under the
        supervisor.
        timeout: seconds or timedelta that a job without a timeout of its own may run.
        lock_duration: 1 to 86400 seconds without a sign of life before a job counts as stalled.
        backoff_strategies: name to function of (attempts_made, error) that returns the seconds until the next
            attempt, for jobs whose `Backoff` has this name as its type. One that raises is logged, and the
            job's `delay` is taken.
        pool: the pool whose actor processes run it, by name or as `App.pool` returned it. An app that declares pools
            has to declare them all; in one without, naming a pool is enough.
        weight: 1 to 1000. While several queues that share actor processes have work, plain `def` ones get
            processing time in proportion to their weights; idle queues leave theirs to the others.
        batch: the function takes a list of up to `batch.size` jobs, and returns a list with a result for each. What
            it raises fails them all, unless it is a `BatchError`. A batch may take as long as the shortest timeout of
            its jobs. `concurrency` counts batches then.
        limiter: how many jobs of the queue may start per window, on all workers together; beside a limit of the queue's
            own the stricter one counts.
        dead_letter_queue: where jobs of this queue go that fail for good; a name, a `DeadLetterQueue` or a mapping with
            its fields. Stored with the queue, for all its workers; None leaves what is stored.
        token_limiter: how many tokens the jobs may use per window; a `TokenLimiter` or a mapping with its fields.
        estimated_tokens, estimated_cost: what an attempt of a job is taken to use at most that states nothing, as
            described for `JobOptions`; for the token limiter and for budgets. If not given, this is learned from
            what jobs have reported.
        limit_key: whose limits hold back this queue, such as ("openai", "gpt"): queues with the same key share the
            token limiter's windows and obey what `limits.observe` says about that key. By default the queue's name.

        Raises:
            ValidationError: a bad queue name, number, duration, strategy, limit, pool name, weight or batch.
            ConfigurationError: the queue has a processor already, or this is no function of one argument.
        """
        check_queue_name(queue)
        if isinstance(concurrency, bool) or not isinstance(cast(object, concurrency), int):
            raise ValidationError("concurrency must be an integer")
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise ValidationError(f"concurrency must be between 1 and {MAX_CONCURRENCY}")
        timeout_ms = None if timeout is None else duration_ms(timeout, "timeout", positive=True)
        lock_ms = None if lock_duration is None else lock_duration_ms(lock_duration)
        strategies = check_strategies(backoff_strategies)
        pool_name = check_pool_name(pool.name if isinstance(pool, Pool) else pool)
        check_weight(weight)
        rule = None if batch is None else batch_rule(batch)
        limit = None if limiter is None else RateLimitOnWire.of(limiter, "limiter")
        dead_letters = dead_letter_queue_on_wire(dead_letter_queue, queue)
        estimate = run_estimate(estimated_tokens, estimated_cost)
        in_all = None if estimate is None or estimate.tokens is None else tokens_in_all(estimate.tokens)
        limits = queue_limits(token_limiter, in_all, limit_key)

        def declare(function: F) -> F:
            self._check_function(queue, function)
            self._processors[queue] = Processor(
                queue,
                function,
                "async" if inspect.iscoroutinefunction(function) else "sync",
                concurrency,
                timeout_ms,
                lock_ms,
                self.serializer,
                strategies,
                pool_name,
                weight,
                rule,
                limit,
                dead_letters,
                limits,
                estimate,
            )
            return function

        return declare

    def manifest(self, name: str = "") -> dict[str, Any]:
        """What the supervisor and the gateway must know, as plain data; `url` may hold a password.

        name: the "module:app" that the app was imported as.

        Raises:
            ConfigurationError: a processor's annotation cannot be resolved or validated into, or its pool is none of
                those that the app declares.
        """
        self._check_pools()
        return {
            "app": name,
            "url": self.url,
            "prefix": self.prefix,
            "pools": {pool.name: pool.procs for pool in self._pools.values()},
            "queues": [
                {
                    "name": processor.queue,
                    "role": processor.role,
                    "pool": processor.pool,
                    "weight": processor.weight,
                    "concurrency": processor.concurrency,
                    "timeout_ms": processor.timeout_ms,
                    "lock_duration_ms": processor.lock_duration_ms,
                    "batch": None if processor.batch is None else list(processor.batch),
                    "limiter": limiter_member(processor.limiter),
                    "dead_letter_queue": dead_letter_queue_to_plain(processor.dead_letters),
                    "limits": processor.limits.manifest() if processor.limits else None,
                    "estimate": processor.estimate.member() if processor.estimate else None,
                    "validates": processor.payload.validates,
                    "function": processor.place,
                }
                for processor in self._processors.values()
            ],
        }

    def _check_pools(self) -> None:
        """An app that declares pools declares all of them: a slip of the pen would make another one."""
        known = {DEFAULT_POOL, *self._pools}
        for processor in self._processors.values():
            if self._pools and processor.pool not in known:
                raise ConfigurationError(
                    f"processor of queue {processor.queue!r}, {processor.place}, names pool {processor.pool!r},"
                    f" which the app does not declare{did_you_mean(processor.pool, known)}"
                )

    def _check_function(self, queue: str, function: object) -> None:
        if not (inspect.isfunction(function) or inspect.ismethod(function)):
            raise ConfigurationError(
                f"processor of queue {queue!r} must be a function, not {type(function).__name__}:"
                " write @app.processor(…) above a def or async def"
            )
        place = _place(function)
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
        earlier = self._processors.get(queue)
        if earlier is not None:
            raise ConfigurationError(
                f"queue {queue!r} has two processors, {earlier.place} and {place}: one queue, one processor"
            )


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


def _place(function: Any) -> str:
    plain = inspect.unwrap(function)
    code = getattr(plain, "__code__", None)
    name = getattr(plain, "__qualname__", repr(plain))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name
