"""Runs a processor on one activated job and turns whatever happens into an outcome; never raises."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from glidemq.commands.command import unpack
from glidemq.commands.fail import REVOKED_REASON
from glidemq.errors import DetourError, RateLimitError
from glidemq.job import AbortFlag, AbortSignal, Job, SyncJob
from glidemq.job.stepping import drive, drive_blocking
from glidemq.job.surroundings import Surroundings, enter
from glidemq.pipeline.detours import until_answered
from glidemq.pipeline.failure_log import log_dropped_result, log_failure, log_overrun
from glidemq.pipeline.outcome import (
    TIMEOUT_REASON,
    JobOptionsOnWire,
    JobOutcome,
    completed,
    delay_ms_of,
    failed,
    put_off,
    read_options,
    reason_of,
    settled,
)
from glidemq.pipeline.resumptions import Resumption, Resumptions
from glidemq.processor import Processor
from glidemq.rings.cancel_board import CancelReason

log = logging.getLogger("glidemq.processor")

# How long a worker keeps still for a RateLimitError without a duration, unless its limiter says.
DEFAULT_PAUSE_MS = 1000


class Overrun(BaseException):
    """Raised inside a sync processor that overran its timeout; not an Exception, so that few handlers swallow it."""


class SettableFlag(AbortFlag, Protocol):
    """An abort flag that the event loop which runs the job can raise itself."""

    def set(self, reason: CancelReason) -> None:
        """Raise the flag."""
        ...


class LoopAbortFlag:
    """A running job's abort flag inside an event loop, so that waiting for it costs nothing."""

    __slots__ = ("_event", "_reason", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        """What runs the job alone: to be cancelled when it is to end by force."""
        self._reason = CancelReason.NONE
        self._event: asyncio.Event | None = None

    def reason(self) -> int:
        """Why the job should stop; 0 while it should not."""
        return self._reason

    def set(self, reason: CancelReason) -> None:
        """Raise the flag, once."""
        if not self._reason:
            self._reason = reason
            if self._event is not None:
                self._event.set()

    def end(self) -> None:
        """Raise the flag and cancel what runs the job."""
        self.set(CancelReason.ABORT)
        if self.task is not None:
            # Later: a task that is cancelled before its first step never runs.
            asyncio.get_running_loop().call_soon(self.task.cancel)

    async def wait(self) -> None:
        """Return once the flag is up."""
        if self._event is None:
            self._event = asyncio.Event()
        if not self._reason:
            await self._event.wait()


class Activated:
    """One job on its way through a processor: decoded once, and everything that its end needs."""

    __slots__ = ("fence", "fields", "flag", "job", "options", "urgent")

    def __init__(self, blob: bytes, flag: AbortFlag, urgent: bool) -> None:
        self.fields = fields = unpack(blob)
        self.fence = (fields[0], fields[8], int(fields[7]), fields[9])
        self.options: JobOptionsOnWire = read_options(fields[3])
        self.flag = flag
        self.job: Job[Any, Any] | SyncJob[Any, Any] | None = None  # once its data was understood
        self.urgent = urgent

    @property
    def is_settled(self) -> bool:
        """Whether the processor has taken a detour: then nothing that it does afterwards counts."""
        return self.job is not None and self.job.settled_as != ""


class Execution:
    """What sync and async executions share: building the job, judging its end."""

    def __init__(self, processor: Processor[Any, Any], queue: str, queue_key: str) -> None:
        self._function = processor.function
        self._payload = processor.payload
        self._timeout_ms = processor.timeout_ms or 0
        self._strategies = processor.backoff_strategies
        self._resumptions = Resumptions()
        limiter = processor.limiter
        self._rate_limit_pause_ms = limiter.duration_ms if limiter is not None else DEFAULT_PAUSE_MS
        self._queue = queue
        self._queue_key = queue_key
        self._prefix = queue_key.partition(":{")[0]

    def _succeeded(self, run: Activated, value: Any, *, in_batch: bool = False) -> JobOutcome:
        if run.is_settled:
            if value is not None and not in_batch:
                log_dropped_result(self._queue, run.fence[0])
            return settled(run.fence)
        if run.flag.reason() == CancelReason.ABORT:
            return self._revoked(run)
        raw = self._payload.dump_result(value, in_batch=in_batch)
        return completed(run.fence, raw, run.options, urgent=run.urgent)

    def _raised(self, run: Activated, error: BaseException) -> JobOutcome:
        if run.is_settled:
            return settled(run.fence)
        if run.flag.reason() == CancelReason.ABORT:
            return self._revoked(run)
        if isinstance(error, RateLimitError):
            return self._rate_limited(run, error)
        attempts_made = int(run.fields[5] or 0)
        log_failure(self._queue, run.fence[0], attempts_made, run.options, error)
        return failed(
            run.fence,
            reason_of(error),
            run.options,
            attempts_made=attempts_made,
            error=error,
            for_good=run.job is not None and run.job.discarded,
            strategies=self._strategies,
        )

    def _rate_limited(self, run: Activated, request: RateLimitError) -> JobOutcome:
        pause_ms = self._rate_limit_pause_ms
        if request.duration is not None:
            pause_ms = delay_ms_of(request.duration)
        log.info(
            "job %s of %r hit a rate limit: it and its queue pause for %.3g s",
            run.fence[0].decode(errors="replace"),
            self._queue,
            pause_ms / 1000,
        )
        return put_off(run.fence, pause_ms)

    def _overran(self, run: Activated, interruption: BaseException | None = None) -> JobOutcome:
        if run.is_settled:
            return settled(run.fence)
        attempts_made = int(run.fields[5] or 0)
        timeout_ms = self._limit_ms(run)
        log_overrun(self._queue, run.fence[0], attempts_made, run.options, timeout_ms, interruption)
        return failed(
            run.fence,
            TIMEOUT_REASON,
            run.options,
            attempts_made=attempts_made,
            error=TimeoutError(TIMEOUT_REASON),
            strategies=self._strategies,
        )

    def _limit_ms(self, run: Activated) -> int:
        return run.options.timeout_ms or self._timeout_ms

    @staticmethod
    def _counted(run: Activated, outcome: JobOutcome) -> JobOutcome:
        """The outcome with what the processor said that it has used, however it ended."""
        tokens = -1 if run.job is None else run.job.tokens_of_run
        return outcome if tokens < 0 else outcome._replace(tokens=tokens)

    def _revoked(self, run: Activated) -> JobOutcome:
        """Revoked jobs never complete and are never retried (ruling 17). For a lost lease the server refuses this."""
        return failed(run.fence, REVOKED_REASON, run.options, attempts_made=0, for_good=True)


class SyncExecution(Execution):
    """Runs a plain `def` processor on the calling thread."""

    def __init__(
        self, processor: Processor[Any, Any], queue: str, queue_key: str, execute: Callable[..., Any]
    ) -> None:
        super().__init__(processor, queue, queue_key)
        self._execute = execute
        self._surroundings = Surroundings(self._prefix, execute, blocking=True)

    def run(self, blob: bytes, flag: AbortFlag, *, urgent: bool = False) -> JobOutcome:
        """Run the job to its end."""
        run = Activated(blob, flag, urgent)
        return self._counted(run, self._run(run, flag))

    def _run(self, run: Activated, flag: AbortFlag) -> JobOutcome:
        try:
            job: SyncJob[Any, Any] = SyncJob.from_activation(
                run.fields,
                queue_key=self._queue_key,
                connection=self._execute,
                payload=self._payload,
                abort_signal=AbortSignal(flag),
            )
            run.job = job
            enter(self._surroundings)
            try:
                resumption = self._resumptions.take(job)
                if resumption is None:
                    return self._succeeded(run, self._function(job))
                run.job = job = resumption.job
                return self._succeeded(run, resumption.on_resume(job.signals))
            except DetourError as request:
                drive_blocking(until_answered(job, request, flag), self._execute)
                self._resumptions.remember(job, request)
                return settled(run.fence)
        except Overrun as interruption:
            return self._overran(run, interruption)
        except (
            BaseException
        ) as error:  # sys.exit() in a processor is a failed job, not the end of the process
            return self._raised(run, error)

    def overran(self, blob: bytes) -> JobOutcome:
        """The outcome when `Overrun` escaped from `run`: raised while the end of the job was being judged."""
        return self._overran(Activated(blob, LoopAbortFlag(), urgent=False))


class AsyncExecution(Execution):
    """Runs an `async def` processor on the running event loop, within the job's timeout."""

    def __init__(
        self,
        processor: Processor[Any, Any],
        queue: str,
        queue_key: str,
        connection: Any,
        *,
        kill_grace_s: float,
    ) -> None:
        super().__init__(processor, queue, queue_key)
        self._connection = connection
        self._kill_grace_s = kill_grace_s
        self._surroundings = Surroundings(self._prefix, connection.execute, blocking=False)

    async def run(self, blob: bytes, flag: SettableFlag, *, urgent: bool = False) -> JobOutcome:
        """Run the job to its end, or until it has ignored its cancellation for the grace.

        Raises CancelledError only when the flag says that the job goes back to the queue: a processor may cancel its
        own task, or one that it awaits.
        """
        run = Activated(blob, flag, urgent)
        return self._counted(run, await self._run(run, flag))

    async def _run(self, run: Activated, flag: SettableFlag) -> JobOutcome:
        try:
            job: Job[Any, Any] = Job.from_activation(
                run.fields,
                queue_key=self._queue_key,
                connection=self._connection,
                payload=self._payload,
                abort_signal=AbortSignal(flag),
            )
            run.job = job
            enter(self._surroundings)
            timeout_ms = self._limit_ms(run)
            function = self._function
            resumption = self._resumptions.take(job)
            if resumption is not None:
                run.job = job = resumption.job
                function = _going_on(resumption)
            try:
                if timeout_ms:
                    return await self._run_within(run, job, flag, timeout_ms, function)
                return self._succeeded(run, await function(job))
            except DetourError as request:
                await drive(until_answered(job, request, flag), self._connection)
                self._resumptions.remember(job, request)
                return settled(run.fence)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and flag.reason() == CancelReason.TAKE_BACK:
                raise  # the runtime ends, not the job
            return self._raised(run, error)

    async def _run_within(
        self,
        run: Activated,
        job: Job[Any, Any],
        flag: SettableFlag,
        timeout_ms: int,
        function: Callable[[Any], Awaitable[Any]],
    ) -> JobOutcome:
        task = asyncio.ensure_future(self._contained(job, function))
        try:
            done, _ = await asyncio.wait({task}, timeout=timeout_ms / 1000)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if done:
            value, error = task.result()
            if error is not None:
                raise error
            return self._succeeded(run, value)
        flag.set(CancelReason.TIMEOUT)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=self._kill_grace_s)
        if not done:
            log.error(
                "job %s of %r ignores its cancellation: it is left behind, its result is void",
                job.id,
                self._queue,
            )
        return self._overran(run)

    @staticmethod
    async def _contained(
        job: Job[Any, Any], function: Callable[[Any], Awaitable[Any]]
    ) -> tuple[Any, BaseException | None]:
        """The result or the error. A SystemExit that left the processor's own task would end the loop with all jobs."""
        try:
            return await function(job), None
        except BaseException as error:
            return None, error


def _going_on(resumption: Resumption) -> Callable[[Any], Awaitable[Any]]:
    """A processor that does what the suspended run asked for; it may be a plain function or a coroutine function."""

    async def go_on(job: Job[Any, Any]) -> Any:
        result = resumption.on_resume(job.signals)
        return await result if inspect.isawaitable(result) else result

    return go_on
