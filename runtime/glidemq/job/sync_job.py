"""The job that plain functions use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from glidemq.commands.rate_limit_group import CurrentJob, Extend, RequeuePosition
from glidemq.commands.stream_append import Appended, StreamAppendCommand
from glidemq.errors import SuspendError
from glidemq.job.chunk_lanes import new_lane_id
from glidemq.job.chunks import ChunkBatch
from glidemq.job.record import In, Out
from glidemq.job.signals import Signal
from glidemq.job.stepping import Steps, drive_blocking
from glidemq.job.steps import FinalState, JobSteps
from glidemq.options import Duration, ParentJob
from glidemq.options.usage import usage_report
from glidemq.options.vectors import AttributeValue

R = TypeVar("R")


class SyncJob(JobSteps[In, Out]):
    """What a plain `def` processor is called with: a `Job` whose methods block instead of being awaited."""

    __slots__ = ()

    def _run(self, steps: Steps[R]) -> R:
        return drive_blocking(steps, self._connection)

    def log(self, line: str) -> int:
        """Append a line to the job's log; the number of lines it has now.

        Raises:
            ValidationError: above 1 MiB. JobNotFoundError: the job was removed.
        """
        return self._run(self._log_steps(line))

    def update_progress(self, progress: Any) -> None:
        """Store how far the job has come, a number or what the serializer takes, and emit the event `progress`.

        Raises:
            SerializationError: cannot be serialized. ValidationError: above 1 MiB. JobNotFoundError: it was
            removed.
        """
        return self._run(self._progress_steps(progress))

    def update_data(self, data: In) -> None:
        """Replace the job's data, here and on the server.

        Raises:
            SerializationError: cannot be serialized. ValidationError: above 1 MiB. JobNotFoundError: it was
            removed.
        """
        return self._run(self._data_steps(data))

    def report_usage(
        self,
        *,
        model: str | None = None,
        provider: str | None = None,
        tokens: Mapping[str, float] | None = None,
        total_tokens: float | None = None,
        costs: Mapping[str, float] | None = None,
        total_cost: float | None = None,
        cost_unit: str | None = None,
        latency: Duration | None = None,
        cached: bool | None = None,
    ) -> None:
        """Take down what this attempt has used, in place of what it reported before, and emit the event `usage`.

        Attempts add up, also those that fail, are revoked or suspend: `usage` holds the sum. May be called for any job.

        tokens, costs: amounts by category; total_tokens and total_cost are their sums unless given, in `cost_unit`.
        latency: seconds or timedelta. model, provider: who was called. cached: whether the answer came from a cache.

        Raises:
            ValidationError: "Token count for 'k' must be a finite non-negative number" and the like.
            JobNotFoundError: the job was removed. LeaseLostError: another worker has started it since.
            UsageBusyError: a Node client holds the job's usage lock for seconds.
        Source: features page, section 14.
        """
        report = usage_report(
            model=model,
            provider=provider,
            tokens=tokens,
            total_tokens=total_tokens,
            costs=costs,
            total_cost=total_cost,
            cost_unit=cost_unit,
            latency=latency,
            cached=cached,
        )
        return self._run(self._report_usage_steps(report))

    def stream(self, fields: Mapping[str, str]) -> str:
        """Append a chunk to the job's stream, for `Queue.stream` and `Queue.read_stream`; the id of its entry.

        fields: texts by name, for example {"t": token}; {"t": "", "done": "1"} tells readers that it is the last one.

        Raises:
            ValidationError: "Stream chunk must not be empty", above 1 MiB, or no texts.
            JobNotFoundError: the job was removed. LeaseLostError: another worker runs it now.
        Source: features page, section 15.
        """
        source = self._chunks
        if source is None:
            source = self._chunk_source()
            source.lane = new_lane_id()
        batch = ChunkBatch(source.seen_in)
        source.write(fields, batch)
        command = StreamAppendCommand(
            self._queue_key, lane=source.lane, call=source.number, era=batch.era or 0, chunks=batch.elements
        )
        appended: Appended = self._connection(command)
        source.seen_in = appended.era
        entry_id = appended.entry_ids[0]
        return entry_id if len(entry_id) > 1 else self._chunk_refused(entry_id)

    def stream_chunk(self, type: str, content: str | None = None) -> str:
        """Append {"type": type, "content": content}, without content if it is None; type "done" ends the stream.

        Raises as `stream` does.
        """
        fields = {"type": type} if content is None else {"type": type, "content": content}
        return self.stream(fields)

    def report_tokens(self, tokens: int) -> None:
        """Tell how many tokens this run of the job has used, for the queue's token limiter; the last call counts.

        Raises:
            ValidationError: "Token count must not be negative", or no integer. JobNotFoundError: the job was removed.
        """
        return self._run(self._tokens_steps(tokens))

    def refresh(self) -> None:
        """Read all fields again. Raises JobNotFoundError when the job was removed."""
        return self._run(self._refresh_steps())

    def remove(self) -> bool:
        """Delete the job with all that belongs to it, in any state; False if it was gone already.

        A running one goes on; its outcome is dropped.
        """
        return self._run(self._remove_steps())

    def get_state(self) -> str:
        """The state now: "waiting", "active", "delayed", "prioritized", "completed", "failed" …

        "unknown" if the job does not exist.
        """
        return self._run(self._state_steps())

    def is_completed(self) -> bool:
        """Whether the job is completed now."""
        return self._run(self._is_state_steps("completed"))

    def is_failed(self) -> bool:
        """Whether the job has failed for good."""
        return self._run(self._is_state_steps("failed"))

    def is_delayed(self) -> bool:
        """Whether the job waits for its time, or for its next attempt."""
        return self._run(self._is_state_steps("delayed"))

    def is_active(self) -> bool:
        """Whether the job is being processed now."""
        return self._run(self._is_state_steps("active"))

    def is_waiting(self) -> bool:
        """Whether the job waits for a worker now."""
        return self._run(self._is_state_steps("waiting"))

    def is_revoked(self) -> bool:
        """Whether the job was revoked."""
        return self._run(self._is_revoked_steps())

    def promote(self) -> None:
        """Let a delayed job wait no longer.

        Raises:
            JobStateError: "Cannot promote: …", it is not delayed. JobNotFoundError: the job was removed.
        """
        return self._run(self._promote_steps())

    def change_priority(self, priority: int) -> None:
        """Give a job that has not started another priority, 0 to 2048; 0 is none.

        Raises:
            ValidationError: out of range. JobStateError: "Cannot change priority: …". JobNotFoundError: the job
            was removed.
        """
        return self._run(self._change_priority_steps(priority))

    def change_delay(self, delay: Duration) -> None:
        """Let a job that has not started fall due in `delay` seconds (or timedelta) from now; 0 is at once.

        Raises:
            ValidationError: negative or out of range. JobStateError: "Cannot change delay: …".
            JobNotFoundError: the job was removed.
        """
        return self._run(self._change_delay_steps(delay))

    def retry(self) -> None:
        """Give a failed job all its attempts once more.

        Raises:
            JobStateError: "Cannot retry: …", it has not failed. JobNotFoundError: the job was removed.
        """
        return self._run(self._retry_steps())

    def rate_limit_group(
        self,
        duration: Duration,
        *,
        current_job: CurrentJob = "requeue",
        requeue_position: RequeuePosition = "front",
        extend: Extend = "max",
    ) -> datetime:
        """Pause the job's group, and park this job until then: it goes back without being charged, to run again first.

        Jobs of other groups go on. Return soon afterwards: what the processor returns or raises does not count.

        duration: seconds or timedelta. current_job: "fail" lets this job fail for good instead. requeue_position:
        "back" lets all jobs that were added to the group so far go before this one. extend: "replace" also
        shortens a pause that would last longer.

        Returns when the group goes on.

        Raises:
            ValidationError: a bad argument, or a job without an ordering key. JobStateError: "Cannot rate limit
            group: …", the job is not being processed. LeaseLostError, JobNotFoundError: it is somebody else's, or gone.
        """
        steps = self._rate_limit_group_steps(duration, current_job, requeue_position, extend)
        return self._run(steps)

    def suspend(
        self,
        *,
        reason: str | None = None,
        timeout: Duration = 0,
        on_resume: Callable[[tuple[Signal, ...]], Any] | None = None,
    ) -> NoReturn:
        """Wait for a signal: the run ends here. After `Queue.signal` the processor runs again from the start, with the
        signal in `job.signals`.

        It always raises: what follows it never runs, and no attempt is charged. The job holds no slot while it waits;
        only in a group with a concurrency of 1 it keeps its turn. A signal that came early ends the wait at once.

        reason: what it waits for, for people to read. timeout: seconds or timedelta after which the job fails for good
        with "Suspend timeout exceeded"; 0 is never. on_resume: called with all signals in place of the processor, and
        its result is the job's, if the job goes on in this very process while that lives; else, and in batches, the
        processor runs from the start.

        Raises:
            SuspendError: the job is suspended; let it pass. ValidationError: a bad argument. JobStateError: the job is
            not being processed. LeaseLostError, JobNotFoundError: it is somebody else's, or gone.
        """
        self._run(self._suspend_steps(reason, timeout, on_resume))
        raise SuspendError(reason, timeout, on_resume)

    def store_vector(
        self, field: str, vector: Iterable[float], attributes: Mapping[str, AttributeValue] | None = None
    ) -> None:
        """Store an embedding with the job, for `Queue.vector_search` to find the job by.

        It goes with the job when that is removed. Storing again under the same name replaces it.

        field: its name; that of the index's `VectorField`. vector: finite numbers, kept as float32.
        attributes: numbers and texts for filters, by name; those given before stay. An index has to list them.

        Raises:
            ValidationError: a bad name, vector or attribute. JobNotFoundError: the job was removed. QueueFullError.
        Source: features page, section 21.
        """
        return self._run(self._store_vector_steps(field, vector, attributes))

    def move_to_delayed(self, when: datetime | float, next_step: str | None = None) -> NoReturn:
        """Stop this run here; the job runs again, from the top of the processor, at `when`. No attempt is charged.

        when: an aware datetime or epoch seconds; the past means at once. next_step: stored as the member `step` of the
        job's data in the same call, so that the next run knows where to go on.

        Raises:
            DelayedError: always, once that is done; let it through. ValidationError: no point in time, or data that are
            no object. JobStateError: the job is not being processed. LeaseLostError, JobNotFoundError: it is somebody
            else's, or gone.
        """
        raise self._run(self._move_to_delayed_steps(when, next_step))

    def move_to_waiting_children(self) -> NoReturn:
        """Stop this run here until all children have ended; the job runs again then, from the top of the processor.

        Meanwhile it holds no slot. If no child is left to wait for, it runs again at once: have the next run tell by
        `get_children_values()`, or by the job's data, that the children were added before. If a child has failed whose
        `on_failure` is "fail_parent", the job fails. No attempt is charged.

        Raises:
            WaitingChildrenError: always, once that is done; let it through. JobStateError: the job is not being
            processed. LeaseLostError, JobNotFoundError: it is somebody else's, or gone.
        """
        raise self._run(self._move_to_waiting_children_steps())

    def get_children_values(self) -> dict[str, Any]:
        """What the job's completed children have returned, by their names (`glide:{queue}:id`).

        Raises JobNotFoundError when the job was removed.
        """
        return self._run(self._children_values_steps())

    def get_failed_children_values(self) -> dict[str, str]:
        """Why children of the job have failed, by their names; those whose edge was removed are left out.

        Raises JobNotFoundError when the job was removed.
        """
        return self._run(self._failed_children_values_steps())

    def get_parents(self) -> list[ParentJob]:
        """The jobs that wait for this one. Raises JobNotFoundError when it was removed."""
        return self._run(self._parents_steps())

    def wait_until_finished(self, poll: Duration = 0.5, timeout: Duration = 30) -> FinalState:
        """Return once the job is "completed" or has "failed" for good; its fields are those of its end then.

        poll: seconds or timedelta between two looks at the job; the first ones come sooner. timeout: how long to
        wait at most.

        Raises:
            JobTimeoutError: it was not finished in time; it goes on. JobNotFoundError: it was removed, as by
            remove_on_complete. ValidationError: a duration that is none, or 1000 and more as a bare number.
        """
        return self._run(self._wait_until_finished_steps(poll, timeout))
