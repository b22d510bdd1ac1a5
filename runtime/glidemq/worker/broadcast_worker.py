"""A worker that gets the messages of a broadcast, inside this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, cast

from glidemq.app import App
from glidemq.commands.keys import DEFAULT_PREFIX
from glidemq.config import ConnectionOptions, resolve_connection
from glidemq.connection import CommandConnection, ReaderConnection, SharedClient, UnblockingConnection
from glidemq.errors import ClosedError, ValidationError
from glidemq.job.record import In, Out
from glidemq.options import BackoffStrategy, Duration, check_prefix, check_queue_name, duration_ms
from glidemq.options.job_options import lock_duration_ms
from glidemq.options.subjects import compile_subject_matcher
from glidemq.pipeline.pump_context import QueueSettings
from glidemq.processor import Processor
from glidemq.serializer import JSON_SERIALIZER, Serializer
from glidemq.worker.arguments import block_s, interval_s, whole, worker_id
from glidemq.worker.borrowed_client import BorrowedClient
from glidemq.worker.delivery_pump import DeliveryPump
from glidemq.worker.life import WorkerLife
from glidemq.worker.local_executions import TaskExecution, ThreadExecution, execution_of
from glidemq.worker.observed_processor import observed
from glidemq.worker.subscription_settings import SubscriptionSettings

DELIVER_FOR_S = 5.0


class BroadcastWorker(WorkerLife, Generic[In, Out]):
    """Processes the messages of a broadcast for one subscription, in this process and event loop.

        async with BroadcastWorker("orders", send_mail, subscription="mail", subjects=["orders.*.created"]) as worker:
            await worker.run()

    Each subscription gets each message once, whoever else gets it; workers of one subscription share its messages. A
    message that fails is tried again for this subscription alone, by its own `attempts` and `backoff`; its job counts
    this subscription's attempts. The job's state on the server is that of whatever subscription wrote last. Moving a
    message to another time or state from within its processor is not possible.

    name: the broadcast. processor: called with each message as a `Job` (a `SyncJob` for plain functions), whose name is
        the subject.
    subscription: the name of the consumer group; it exists from the first worker's start on.
    start_from: what a new subscription gets first: "$" what is published from now on, "0-0" all that is kept, or what
        follows an entry id; `start` raises ValidationError for what is none. One that exists goes on where it was.
    subjects: patterns of the subjects to process, `*` for one word, `>` at the end for one or more; others are skipped.
    The other arguments are those of `Worker`; durations are seconds or timedelta.

    Raises:
        ValidationError: no subscription, a bad pattern, name, number or combination. ConfigurationError: a bad URL.
    Source: features page, section 23.
    """

    def __init__(
        self,
        name: str,
        processor: Callable[[Any], Any],
        *,
        subscription: str,
        start_from: str = "$",
        subjects: str | Iterable[str] | None = None,
        connection: str | ConnectionOptions | None = None,
        client: SharedClient | None = None,
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
        events: bool = True,
        metrics: bool = True,
    ) -> None:
        super().__init__()
        self.name = check_queue_name(name)
        self.subscription = _subscription(subscription)
        if not isinstance(cast(object, start_from), str) or not start_from:
            raise ValidationError('start_from must be "$", "0-0" or an entry id')
        self._matches = None if subjects is None else compile_subject_matcher(subjects)
        if client is not None and connection is None:
            raise ValidationError(
                "BroadcastWorker always requires `connection` even when `client` is provided, because the blocking"
                " client must be auto-created."
            )
        self._borrowed = None if client is None else BorrowedClient(client)
        self._options = resolve_connection(connection)
        app = App(prefix=prefix, serializer=serializer)
        declare = app.processor(
            name, concurrency=concurrency, timeout=timeout, backoff_strategies=backoff_strategies
        )
        declare(processor)
        self._processor: Processor[In, Out] = app.processors[name]
        self.id = worker_id()
        """The name of this worker in the broadcast's registry and in the subscription."""
        self._settings = SubscriptionSettings(
            queue=QueueSettings(
                name,
                prefix=check_prefix(prefix),
                lock_ms=lock_duration_ms(lock_duration),
                timeout_ms=self._processor.timeout_ms or 0,
                events=events,
                metrics=metrics,
            ),
            subscription=self.subscription,
            start_from=start_from,
            consumer=self.id,
            block_s=block_s(block),
            promotion_interval_s=interval_s(promotion_interval, "promotion_interval"),
            stalled_interval_s=interval_s(stalled_interval, "stalled_interval"),
            max_stalled_count=whole(max_stalled_count, "max_stalled_count", 0),
        )
        self._kill_grace_s = duration_ms(kill_grace, "kill_grace") / 1000
        self._execution: TaskExecution | ThreadExecution | None = None
        self._pump: DeliveryPump | None = None

    # -- life -----------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        commands: UnblockingConnection = self._borrowed or CommandConnection(
            self._options, client_name="glidemq-worker"
        )
        reader = ReaderConnection(self._options, client_name="glidemq-reader")
        execution = self._execution = self._make_execution(commands)
        pump = DeliveryPump(
            self._settings,
            commands=commands,
            reader=reader,
            execution=execution,
            events=self._events,
            matches=self._matches,
        )
        try:
            await pump.start()
        except BaseException:
            execution.close()
            await reader.close()
            await commands.close()
            raise
        self._commands, self._reader, self._pump = commands, reader, pump

    def _make_execution(self, commands: UnblockingConnection) -> TaskExecution | ThreadExecution:
        key = self._settings.queue.keys.meta
        processor = observed(self._processor, self._events, lambda: None, key, commands)
        return execution_of(
            processor,
            self.name,
            key,
            commands,
            kill_grace_s=self._kill_grace_s,
            on_thread_freed=lambda: self._pump.wake() if self._pump is not None else None,
        )

    async def _end(self, force: bool) -> None:
        assert self._pump is not None and self._execution is not None
        if force:
            self._pump.cancel_running()
        await self._pump.close(deliver_for_s=DELIVER_FOR_S)
        await self._reader.close()
        await self._commands.close()
        self._execution.close()

    def _cancel_running(self) -> None:
        if self._pump is not None:
            self._pump.cancel_running()

    def _place(self) -> str:
        return f"{self.name!r} for {self.subscription!r} at {self._options.place}"

    # -- pausing --------------------------------------------------------------------------------------------

    async def pause(self, force: bool = False) -> None:
        """Start nothing more on this worker until `resume`, and wait for what runs unless `force`."""
        if self._pump is None:
            raise ClosedError("BroadcastWorker has not been started")
        await self._pump.pause()
        if not force:
            await self._pump.wait_until_idle()

    async def resume(self) -> None:
        """Start messages again."""
        if self._pump is not None:
            self._pump.resume()

    def is_paused(self) -> bool:
        """True after `pause`, until `resume`."""
        return self._pump is not None and self._pump.paused

    # -- messages and events --------------------------------------------------------------------------------

    def abort_job(self, job_id: str) -> bool:
        """Set the abort signal of a message that runs here; False if it does not."""
        return self._pump is not None and self._pump.abort(job_id.encode())


def _subscription(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ValidationError("BroadcastWorker requires a `subscription` name (consumer group name).")
    return name
