"""A worker inside this process: the runtime's pipeline without a supervisor."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeAlias

from glidemq.actors.cell import Cell
from glidemq.actors.cell_settings import CellSettings
from glidemq.actors.local_link import LocalLink
from glidemq.app import App
from glidemq.commands.keys import DEFAULT_PREFIX
from glidemq.config import ConnectionOptions, resolve_connection
from glidemq.connection import CommandConnection, ReaderConnection, SharedClient, UnblockingConnection
from glidemq.errors import ClosedError, RateLimitError
from glidemq.job.record import In, Out
from glidemq.options import (
    BackoffStrategy,
    Batch,
    DeadLetterQueue,
    Duration,
    LimitKey,
    RateLimit,
    TokenLimiter,
    check_prefix,
    check_queue_name,
    duration_ms,
)
from glidemq.options.estimates import CostEstimate, TokenEstimate
from glidemq.options.job_options import lock_duration_ms
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.pump_context import QueueSettings
from glidemq.pipeline.queue_pump import QueuePump
from glidemq.processor import Processor
from glidemq.rings.cancel_board import CancelReason
from glidemq.serializer import JSON_SERIALIZER, Serializer
from glidemq.worker.arguments import block_s, borrowed_client, interval_s, whole, worker_id
from glidemq.worker.draining import until_empty
from glidemq.worker.life import WorkerLife
from glidemq.worker.local_batches import TaskBatches, ThreadBatches
from glidemq.worker.local_executions import TaskExecution, ThreadExecution, execution_of
from glidemq.worker.observed_processor import observed

log = logging.getLogger("glidemq.worker")

MAX_RING_WAIT_NS = 20_000_000
DELIVER_FOR_S = 5.0
DRAIN_CHECK_S = 0.1

Execution: TypeAlias = TaskExecution | ThreadExecution | TaskBatches | ThreadBatches


class Worker(WorkerLife, Generic[In, Out]):
    """Processes one queue's jobs in this process and event loop.

        async with Worker("emails", send) as worker:
            await worker.run()

    `async def` processors run as tasks, plain `def` ones on `concurrency` threads: for CPU-bound work use
    `glidemq-supervisor`, which gives each core a process. Constructing a worker does no I/O.

    name: the queue. processor: called with each job (`Job` or, for plain functions, `SyncJob`).
    connection: as for `Queue`; the worker opens a reader connection of its own and, without `client`, a second one.
    client, command_client: an open connection to borrow for everything but blocking reads; never closed here.
    prefix, serializer: as for `Queue`.
    concurrency: jobs at once. timeout: for jobs without one of their own.
    lock_duration: 1 to 86400 seconds that a lease lasts without a heartbeat; the heartbeat comes at half of it.
    stalled_interval: how often jobs of dead workers are looked for. max_stalled_count: how often one is rerun.
    promotion_interval: how soon work that no blocking read can see is found. block: longest blocking read, up to 10 s.
    kill_grace: how long a coroutine may take to end once its timeout has cancelled it.
    backoff_strategies: name to function of (attempts_made, error) that returns the seconds until the next attempt.
    batch: the processor is called with a list of jobs, as described in `App.processor`; `concurrency` counts batches.
    limiter: how many jobs may start per window, counted over all workers of the queue; if the queue has a limit of its
        own, the stricter one counts.
    dead_letter_queue: where jobs go that fail for good, as described in `App.processor`.
    token_limiter, estimated_tokens, estimated_cost, limit_key: what jobs may use and do, as described there.
    events, metrics: False saves the server's `completed` events and per-minute counters.
    All durations are seconds or timedelta.

    Raises:
        ValidationError: a bad name, number or combination of arguments. ConfigurationError: a malformed URL.
    Source: features page, section 6; rulings 6, 8 and 15.
    """

    RateLimitError = RateLimitError

    def __init__(
        self,
        name: str,
        processor: Callable[[Any], Any],
        *,
        connection: str | ConnectionOptions | None = None,
        client: SharedClient | None = None,
        command_client: SharedClient | None = None,
        prefix: str = DEFAULT_PREFIX,
        concurrency: int = 1,
        serializer: Serializer = JSON_SERIALIZER,
        timeout: Duration | None = None,
        lock_duration: Duration = 30,
        stalled_interval: Duration = 30,
        max_stalled_count: int = 1,
        promotion_interval: Duration = 0.25,
        block: Duration = 1,
        kill_grace: Duration = 5,
        backoff_strategies: Mapping[str, BackoffStrategy] | None = None,
        batch: Batch | Mapping[str, Any] | None = None,
        limiter: RateLimit | Mapping[str, Any] | None = None,
        dead_letter_queue: str | DeadLetterQueue | Mapping[str, Any] | None = None,
        token_limiter: TokenLimiter | Mapping[str, Any] | None = None,
        estimated_tokens: TokenEstimate | None = None,
        estimated_cost: CostEstimate | None = None,
        limit_key: LimitKey | None = None,
        events: bool = True,
        metrics: bool = True,
    ) -> None:
        super().__init__()
        self.name = check_queue_name(name)
        self._borrowed = borrowed_client(client, command_client, connection)
        self._options = resolve_connection(connection)
        # The declaration of an app checks the function, the concurrency and the durations alike.
        app = App(prefix=prefix, serializer=serializer)
        declare = app.processor(
            name,
            concurrency=concurrency,
            timeout=timeout,
            backoff_strategies=backoff_strategies,
            batch=batch,
            limiter=limiter,
            dead_letter_queue=dead_letter_queue,
            token_limiter=token_limiter,
            estimated_tokens=estimated_tokens,
            estimated_cost=estimated_cost,
            limit_key=limit_key,
        )
        declare(processor)
        self._processor: Processor[In, Out] = app.processors[name]
        self._settings = QueueSettings(
            name,
            prefix=check_prefix(prefix),
            lock_ms=lock_duration_ms(lock_duration),
            timeout_ms=self._processor.timeout_ms or 0,
            limiter=self._processor.limiter,
            events=events,
            metrics=metrics,
            dead_letters=self._processor.dead_letters,
            limits=self._processor.limits,
            estimate=self._processor.estimate,
        )
        self._kill_grace_s = duration_ms(kill_grace, "kill_grace") / 1000
        self.id = worker_id()
        """The name of this worker in the queue's registry and consumer group."""
        self._cell_settings = CellSettings(
            consumer=self.id,
            block=block_s(block),
            promotion_interval=interval_s(promotion_interval, "promotion_interval"),
            stalled_interval=interval_s(stalled_interval, "stalled_interval"),
            max_stalled_count=whole(max_stalled_count, "max_stalled_count", 0),
            cluster=self._options.cluster,
        )
        self._in_flight = InFlight()
        self._link = LocalLink(self._in_flight, max_wait_ns=MAX_RING_WAIT_NS)
        self._execution: Execution | None = None
        self._cell: Cell | None = None
        self._paused = False
        self._busy = False  # something was processed since the queue was last found empty

    # -- life -----------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        commands: UnblockingConnection = self._borrowed or CommandConnection(
            self._options, client_name="glidemq-worker"
        )
        cell = Cell(
            self._cell_settings,
            commands=commands,
            connect_reader=lambda: ReaderConnection(self._options, client_name="glidemq-reader"),
            in_flight=self._in_flight,
            link=self._link,
            observer=self._events,
            on_drained=self._on_drained,
            owns_commands=self._borrowed is None,
        )
        self._execution = self._make_execution(commands)
        self._link.serve(self.name, self._execution)
        self._link.on_freed = cell.slots_freed
        pump = cell.serve(self._settings)
        if self._paused:
            pump.close_intake()
        try:
            await cell.start()
        except BaseException:
            self._execution.close()
            await cell.stop(deliver_for_s=0)
            raise
        self._cell = cell

    def _make_execution(self, commands: UnblockingConnection) -> Execution:
        """Whatever runs the processor: on the loop or on threads, one job at a time or a batch."""
        key = self._settings.keys.meta
        processor = observed(self._processor, self._events, self._note_start, key, commands)
        rule = processor.batch

        def on_thread_freed() -> None:
            self._link.slots_freed(self.name)

        if rule is None:
            return execution_of(
                processor,
                self.name,
                key,
                commands,
                kill_grace_s=self._kill_grace_s,
                on_thread_freed=on_thread_freed,
            )
        if processor.role == "async":
            return TaskBatches(processor, rule, key, commands, kill_grace_s=self._kill_grace_s)
        return ThreadBatches(processor, rule, key, commands, on_thread_freed=on_thread_freed)

    async def drain(self) -> None:
        """Work off all that waits or is delayed in the queue, then close; starts the worker if need be.
        Jobs of a paused queue, or of the far future, keep it waiting. Raises as `start` does."""
        await self.start()
        assert self._cell is not None
        try:
            await until_empty(self._cell.commands, self._pump.keys.meta, self._in_flight, self._told_to_close)
        finally:
            await self.close()

    async def _end(self, force: bool) -> None:
        assert self._cell is not None and self._execution is not None
        self._link.give_back_waiting()
        if force:
            self._link.cancel_running()
        delivered = await self._drain(self._cell)
        await self._cell.stop(deliver_for_s=DELIVER_FOR_S if delivered else 0)
        self._execution.close()

    def _cancel_running(self) -> None:
        self._link.cancel_running()

    async def _drain(self, cell: Cell) -> bool:
        """Wait for the running jobs and their outcomes; False when there is nobody left to take the outcomes."""
        draining = asyncio.create_task(cell.drain(), name=f"glidemq-drain-{self.name}")
        while not draining.done():
            await asyncio.wait([draining], timeout=DRAIN_CHECK_S)
            # With the server away, outcomes wait for it. A client that its owner has closed never comes back.
            if self._borrowed is not None and self._borrowed.gone and not self._in_flight:
                draining.cancel()
                await asyncio.wait([draining])
                log.error(
                    "the shared client was closed before the worker of queue %r: outcomes that the server was not"
                    " told are lost, and their jobs run again elsewhere",
                    self.name,
                )
                return False
        draining.result()
        return True

    def _place(self) -> str:
        return f"{self.name!r} at {self._options.place}"

    # -- pausing --------------------------------------------------------------------------------------------

    async def pause(self, force: bool = False) -> None:
        """Fetch nothing more on this worker until `resume`, and wait for the running jobs unless `force`."""
        self._paused = True
        if self._cell is None:
            return
        self._pump.close_intake()
        self._cell.readers.reconsider()
        self._link.give_back_waiting()
        while not force and (self._in_flight or not self._pump.settled):
            self._pump.flush()
            await asyncio.sleep(0.005)

    async def resume(self) -> None:
        """Fetch again."""
        self._paused = False
        if self._cell is not None:
            self._pump.open_intake()

    async def rate_limit(self, duration: Duration) -> None:
        """Start nothing on this worker for `duration` (seconds or timedelta); what runs goes on.

        What was fetched and has not started goes back, for other workers. A rest that lasts longer already stays. The
        same as raising RateLimitError in the processor. Raises ValidationError, and ClosedError if it is not running.
        """
        pause_ms = duration_ms(duration, "duration", positive=True)
        if not self.is_running():
            raise ClosedError("Worker is not running")
        self._pump.hold(pause_ms)

    def is_paused(self) -> bool:
        """True after `pause`, until `resume`."""
        return self._paused

    @property
    def _pump(self) -> QueuePump:
        pump = self._cell.pump(self.name) if self._cell is not None else None
        assert pump is not None, "asked for only once the worker has started"
        return pump

    # -- jobs and events ------------------------------------------------------------------------------------

    def abort_job(self, job_id: str) -> bool:
        """Set the abort signal of a job that runs here, which then fails as revoked; False if it does not."""
        for lease in self._in_flight:
            if lease.id == job_id.encode():
                self._link.abort(lease, CancelReason.ABORT)
                return True
        return False

    def _note_start(self) -> None:
        self._busy = True

    def _on_drained(self, _: QueuePump) -> None:
        if self._busy and not self._in_flight:
            self._busy = False
            self._events.emit("drained")
