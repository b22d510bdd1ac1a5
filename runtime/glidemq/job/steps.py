"""What can be done with a job, written once for `Job`, which awaits, and `SyncJob`, which blocks.

Each method is a generator, see `stepping`. Those that end a run are in files of their own.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from glidemq.clock import monotonic_s
from glidemq.commands.add_log import AddLogCommand
from glidemq.commands.change_delay import ChangeDelayCommand, DelayChange
from glidemq.commands.change_priority import ChangePriorityCommand, PriorityChange
from glidemq.commands.get_job import GetJobCommand
from glidemq.commands.job_fields import JobFields
from glidemq.commands.promote_job import PromoteJobCommand
from glidemq.commands.remove import Removal, RemoveCommand
from glidemq.commands.retry_job import RetryJobCommand
from glidemq.commands.update_data import UpdateDataCommand
from glidemq.commands.update_progress import UpdateProgressCommand
from glidemq.errors import JobTimeoutError, ValidationError
from glidemq.job.delay_steps import DelaySteps
from glidemq.job.family_steps import FamilySteps
from glidemq.job.group_pause_steps import GroupPauseSteps
from glidemq.job.model_calls import ModelCalls
from glidemq.job.record import In, Out
from glidemq.job.stepping import Pause, Steps
from glidemq.job.suspend_steps import SuspendSteps
from glidemq.job.vector_steps import VectorSteps
from glidemq.options import Duration, duration_ms
from glidemq.options.job_options import check_priority, delay_ms

FinalState: TypeAlias = Literal["completed", "failed"]
# The first pause between two looks at a job; each is twice the one before, up to `poll`.
FIRST_POLL_S: Final = 0.02
FINAL_STATES: Final[tuple[FinalState, ...]] = ("completed", "failed")
UNKNOWN_STATE: Final = "unknown"


class JobSteps(
    DelaySteps[In, Out],
    FamilySteps[In, Out],
    GroupPauseSteps[In, Out],
    ModelCalls[In, Out],
    SuspendSteps[In, Out],
    VectorSteps[In, Out],
):
    """The operations on one job, without the waiting."""

    __slots__ = ()

    def _log_steps(self, line: str) -> Steps[int]:
        if not isinstance(line, str):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError(f"a log line must be text, not {type(line).__name__}")
        count: int | None = yield AddLogCommand(self._queue_key, job_id=self.id, line=line)
        if count is None:
            raise self._gone()
        return count

    def _progress_steps(self, progress: Any) -> Steps[None]:
        raw = self._payload.dump_progress(progress)
        found: bool = yield UpdateProgressCommand(self._queue_key, job_id=self.id, progress=raw)
        if not found:
            raise self._gone()
        self._fields = {**self._fields, "progress": raw}

    def _data_steps(self, data: In) -> Steps[None]:
        raw = self._payload.dump_data(data)
        found: bool = yield UpdateDataCommand(self._queue_key, job_id=self.id, data=raw)
        if not found:
            raise self._gone()
        self._data = data
        self._raw_data = None
        self.deserialization_failed = False

    def _refresh_steps(self) -> Steps[None]:
        fields: JobFields | None = yield GetJobCommand(self._queue_key, job_id=self.id)
        if fields is None:
            raise self._gone()
        self._take_fields(fields)

    def _field_steps(self, field: str) -> Steps[bytes | None]:
        """One field as it is now; None when the job or the field does not exist."""
        fields: JobFields | None = yield GetJobCommand(self._queue_key, job_id=self.id, exclude_data=True)
        return fields.get(field) if fields is not None else None

    def _state_steps(self) -> Steps[str]:
        state = yield from self._field_steps("state")
        return state.decode("utf-8", "replace") if state else UNKNOWN_STATE

    def _is_state_steps(self, state: str) -> Steps[bool]:
        return (yield from self._state_steps()) == state

    def _is_revoked_steps(self) -> Steps[bool]:
        return (yield from self._field_steps("revoked")) == b"1"

    def _remove_steps(self) -> Steps[bool]:
        removal: Removal = yield RemoveCommand(self._queue_key, job_id=self.id)
        existed = removal.existed
        while removal.following is not None:
            removal = yield removal.following
        return existed

    def _promote_steps(self) -> Steps[None]:
        yield PromoteJobCommand(self._queue_key, job_id=self.id)

    def _retry_steps(self) -> Steps[None]:
        yield RetryJobCommand(self._queue_key, job_id=self.id)

    def _change_priority_steps(self, priority: int) -> Steps[None]:
        check_priority(priority)
        command = ChangePriorityCommand(self._queue_key, job_id=self.id, priority=priority)
        change: PriorityChange = yield command
        while change.following is not None:
            change = yield change.following
        self.priority = priority

    def _change_delay_steps(self, delay: Duration) -> Steps[None]:
        command = ChangeDelayCommand(self._queue_key, job_id=self.id, delay_ms=delay_ms(delay))
        change: DelayChange = yield command
        while change.following is not None:
            change = yield change.following
        self._fields = {**self._fields, "delay": command.delay_ms}

    def _wait_until_finished_steps(self, poll: Duration, timeout: Duration) -> Steps[FinalState]:
        poll_s = duration_ms(poll, "poll", positive=True, bare_limit=True) / 1000
        timeout_s = duration_ms(timeout, "timeout", positive=True, bare_limit=True) / 1000
        give_up_at = monotonic_s() + timeout_s
        pause_s = min(FIRST_POLL_S, poll_s)
        while True:
            # The payload may be large: it is read once, at the end.
            state = yield from self._state_steps()
            for final in FINAL_STATES:
                if state == final:
                    yield from self._refresh_steps()
                    return final
            if state == UNKNOWN_STATE:
                raise self._gone()
            left_s = give_up_at - monotonic_s()
            if left_s <= 0:
                raise JobTimeoutError(f"Job {self.id} did not finish within {timeout_s:g} s")
            yield Pause(min(pause_s, left_s))
            pause_s = min(2 * pause_s, poll_s)
