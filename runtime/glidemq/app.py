"""The app: which function processes which queue."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

from typing_extensions import TypeVar

from glidemq.commands.rate_limit import RateLimitOnWire
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
from glidemq.options import (
    BackoffStrategy,
    Batch,
    Duration,
    LimitKey,
    RateLimit,
    TokenLimiter,
    batch_rule,
    check_prefix,
    check_queue_name,
    duration_ms,
)
from glidemq.options.backoff import check_strategies
from glidemq.options.dead_letter_queue import (
    DeadLetterQueue,
    dead_letter_queue_on_wire,
)
from glidemq.options.estimates import (
    CostEstimate,
    TokenEstimate,
    run_estimate,
    tokens_in_all,
)
from glidemq.options.job_options import lock_duration_ms
from glidemq.options.token_limiter import queue_limits
from glidemq.payload import Payload
from glidemq.processor import Processor, check_function, place_of
from glidemq.serializer import JSON_SERIALIZER, Serializer

F = TypeVar("F", bound=Callable[..., Any])

MAX_CONCURRENCY = 10_000


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
        if callable(queue):
            raise ValidationError(
                'App.processor needs the queue: write @app.processor("name") above the function'
            )
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
            check_function(queue, function)
            earlier = self._processors.get(queue)
            if earlier is not None:
                raise ConfigurationError(
                    f"queue {queue!r} has two processors, {earlier.place} and {place_of(function)}:"
                    " one queue, one processor"
                )
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
            "queues": [processor.manifest() for processor in self._processors.values()],
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
