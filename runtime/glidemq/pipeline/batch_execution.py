"""Runs a processor on several jobs at once and turns what happens into an outcome for each; never raises."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from glidemq.errors import BatchError, DetourError, RateLimitError
from glidemq.job import AbortSignal, Job, SyncJob
from glidemq.job.stepping import drive, drive_blocking
from glidemq.job.surroundings import Surroundings, enter
from glidemq.pipeline.detours import until_answered
from glidemq.pipeline.execution import Activated, Execution, Overrun, SettableFlag
from glidemq.pipeline.failure_log import summary_of, traceback_of
from glidemq.pipeline.outcome import BATCH_TIMEOUT_REASON, JobOutcome, failed, reason_of, settled
from glidemq.processor import Processor
from glidemq.rings.cancel_board import CancelReason

log = logging.getLogger("glidemq.processor")

NO_RESULT: Final = "No result in BatchError"


def ends_of(result: object, jobs: int) -> list[Any]:
    """What became of each of `jobs` jobs whose batch returned, or raised, `result`: a value or an exception.

    An exception in the list of results is its job's failure, so that `asyncio.gather(…, return_exceptions=True)` can
    be returned as it is.
    """
    if isinstance(result, BatchError):
        given = list(result.results)[:jobs]
        return given + [LookupError(NO_RESULT)] * (jobs - len(given))
    if isinstance(result, BaseException):
        return [result] * jobs
    values = cast("Sequence[Any]", result) if isinstance(result, (list, tuple)) else None
    if values is None or len(values) != jobs:
        count = "non-array" if values is None else len(values)
        return [ValueError(f"Batch processor returned {count} results but batch had {jobs} jobs")] * jobs
    return list(values)


class BatchExecution(Execution):
    """What sync and async batches share: building the jobs, judging their ends."""

    _surroundings: Surroundings

    def timeout_ms(self, runs: Sequence[Activated]) -> int:
        """How long the batch may take: as long as the most impatient of its jobs; 0: no limit."""
        return min((limit for run in runs if (limit := self._limit_ms(run))), default=0)

    def most_impatient(self, runs: Sequence[Activated]) -> int:
        """The position of the job whose timeout counts for the batch; 0 if none has one."""
        return min(range(len(runs)), key=lambda index: self._limit_ms(runs[index]) or math.inf)

    def overran(
        self, runs: Sequence[Activated], interruption: BaseException | None = None
    ) -> list[JobOutcome]:
        """The outcomes of a batch that took too long; the `interruption`, if any, tells where it was."""
        log.warning(
            "a batch of %d jobs of %r overran its timeout of %.3g s",
            len(runs),
            self._queue,
            self.timeout_ms(runs) / 1000,
            exc_info=traceback_of(interruption),
        )
        error = TimeoutError(BATCH_TIMEOUT_REASON)
        ends = [settled(run.fence) if run.is_settled else self._failed(run, error) for run in runs]
        return [self._counted(run, outcome) for run, outcome in zip(runs, ends, strict=True)]

    def _build(
        self, runs: Sequence[Activated], kind: type[Job[Any, Any] | SyncJob[Any, Any]], connection: Any
    ) -> tuple[list[Activated], list[JobOutcome | None]]:
        """The jobs that can be run, and for each job the outcome if its data does not fit the annotation."""
        enter(self._surroundings)
        fit: list[Activated] = []
        outcomes: list[JobOutcome | None] = []
        for run in runs:
            try:
                run.job = kind.from_activation(
                    run.fields,
                    queue_key=self._queue_key,
                    connection=connection,
                    payload=self._payload,
                    abort_signal=AbortSignal(run.flag),
                )
            except Exception as error:
                self._log([error], len(runs))
                outcomes.append(self._failed(run, error))
            else:
                fit.append(run)
                outcomes.append(None)
        return fit, outcomes

    def _judge(
        self, fit: Sequence[Activated], ends: Sequence[Any], outcomes: Sequence[JobOutcome | None]
    ) -> list[JobOutcome]:
        """`ends`: of those jobs that were run."""
        failures: list[BaseException] = []
        judged = iter(
            [
                self._counted(run, self._judge_one(run, end, failures))
                for run, end in zip(fit, ends, strict=True)
            ]
        )
        self._log(failures, len(outcomes))
        return [outcome or next(judged) for outcome in outcomes]

    def _judge_one(self, run: Activated, end: Any, failures: list[BaseException]) -> JobOutcome:
        if not isinstance(end, BaseException) or run.is_settled:
            try:
                return self._succeeded(run, end, in_batch=True)
            except Exception as error:
                end = error
        if not isinstance(end, RateLimitError):
            failures.append(end)
        return self._failed(run, end)

    def _failed(self, run: Activated, error: BaseException) -> JobOutcome:
        if run.flag.reason() == CancelReason.ABORT:
            return self._revoked(run)
        if isinstance(error, RateLimitError):
            return self._rate_limited(run, error)
        return failed(
            run.fence,
            reason_of(error),
            run.options,
            attempts_made=int(run.fields[5] or 0),
            error=error,
            for_good=run.job is not None and run.job.discarded,
            strategies=self._strategies,
        )

    def _log(self, failures: Sequence[BaseException], jobs: int) -> None:
        """One line for each different error: a batch that raised would repeat its own a thousand times."""
        for error in {id(error): error for error in failures}.values():
            count = sum(other is error for other in failures)
            log.warning(
                "%d of %d jobs in a batch of %r failed: %s",
                count,
                jobs,
                self._queue,
                summary_of(error),
                exc_info=traceback_of(error),
            )


class SyncBatchExecution(BatchExecution):
    """Runs a plain `def` batch processor on the calling thread."""

    def __init__(
        self, processor: Processor[Any, Any], queue: str, queue_key: str, execute: Callable[..., Any]
    ) -> None:
        super().__init__(processor, queue, queue_key)
        self._execute = execute
        self._surroundings = Surroundings(self._prefix, execute, blocking=True)

    def run(self, runs: Sequence[Activated]) -> list[JobOutcome]:
        """Run the jobs to their end; an outcome for each, in their order."""
        try:
            fit, outcomes = self._build(runs, SyncJob[Any, Any], self._execute)
            ends = ends_of(self._called(fit), len(fit)) if fit else []
            for index, run in enumerate(fit):
                ends[index] = self._after_detour(run, ends[index])
            return self._judge(fit, ends, outcomes)
        except Overrun as interruption:
            return self.overran(runs, interruption)

    def _called(self, fit: Sequence[Activated]) -> object:
        try:
            return self._function([run.job for run in fit])
        except Overrun:
            raise
        except (
            BaseException
        ) as error:  # sys.exit() in a processor fails the batch and is not the end of the process
            return error

    def _after_detour(self, run: Activated, end: Any) -> Any:
        """The end, once a detour that the processor asked for this job by raising was taken, or has failed."""
        if isinstance(end, DetourError) and run.job is not None and not run.is_settled:
            try:
                drive_blocking(until_answered(run.job, end, run.flag), self._execute)
            except Exception as error:
                return error
        return end


class AsyncBatchExecution(BatchExecution):
    """Runs an `async def` batch processor on the running event loop, within the jobs' timeout."""

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

    async def run(self, runs: Sequence[Activated]) -> list[JobOutcome]:
        """Run the jobs to their end, or until they have ignored their cancellation for the grace.

        runs: their flags are `SettableFlag`s. Raises CancelledError only when the runtime ends.
        """
        fit, outcomes = self._build(runs, Job[Any, Any], self._connection)
        if not fit:
            return self._judge(fit, [], outcomes)
        timeout_ms = self.timeout_ms(runs)
        task = asyncio.ensure_future(self._called(fit))
        try:
            done, _ = await asyncio.wait({task}, timeout=timeout_ms / 1000 if timeout_ms else None)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if done:
            ends = ends_of(task.result(), len(fit))
            for index, run in enumerate(fit):
                ends[index] = await self._after_detour(run, ends[index])
            return self._judge(fit, ends, outcomes)
        for run in runs:
            cast(SettableFlag, run.flag).set(CancelReason.TIMEOUT)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=self._kill_grace_s)
        if not done:
            log.error(
                "a batch of %d jobs of %r ignores its cancellation: it is left behind, its results are void",
                len(runs),
                self._queue,
            )
        return self.overran(runs)

    async def _called(self, fit: Sequence[Activated]) -> object:
        """The results or the error: a SystemExit that left the processor's own task would end the loop."""
        try:
            return await self._function([run.job for run in fit])
        except BaseException as error:
            return error

    async def _after_detour(self, run: Activated, end: Any) -> Any:
        """The end, once a detour that the processor asked for this job by raising was taken, or has failed."""
        if isinstance(end, DetourError) and run.job is not None and not run.is_settled:
            try:
                await drive(until_answered(run.job, end, run.flag), self._connection)
            except Exception as error:
                return error
        return end
