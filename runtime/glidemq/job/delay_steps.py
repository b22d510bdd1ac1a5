"""A running job stops, to go on later: at another step, if it likes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

from glidemq.commands.move_to_delayed import MoveResult, MoveRow, MoveToDelayedCommand
from glidemq.errors import DelayedError, ValidationError
from glidemq.job.detours import DetourSteps, detour
from glidemq.job.record import In, Out
from glidemq.job.stepping import Steps
from glidemq.job.stored_values import number
from glidemq.options.schedule import MAX_EPOCH_SECONDS

ACTION: Final = "Cannot move to delayed"
NOT_RUNNING: Final = "move_to_delayed() can only be used while the job is active in a Worker"
NO_TIME: Final = "Timestamp must be a finite Unix value in seconds >= 0, or an aware datetime"
NO_OBJECT: Final = "move_to_delayed(next_step) requires plain-object job data"


def instant_ms(when: object) -> int:
    """Epoch milliseconds of an aware datetime or of epoch seconds."""
    try:
        seconds = DelayedError(cast(float, when)).delayed_until
    except ValidationError:
        raise ValidationError(NO_TIME) from None
    if isinstance(seconds, datetime):
        seconds = seconds.timestamp()
    if seconds >= MAX_EPOCH_SECONDS:
        raise ValidationError(f"{NO_TIME}; {when!r:.40} looks like milliseconds")
    return round(seconds * 1000)


class DelaySteps(DetourSteps[In, Out]):
    """`move_to_delayed` and its error."""

    __slots__ = ()

    def _move_to_delayed_steps(self, when: datetime | float, next_step: str | None) -> Steps[DelayedError]:
        data = None if next_step is None else self._data_at(next_step)
        yield from self._delay_steps(when, data)
        return DelayedError(when)

    def _delay_steps(self, when: datetime | float, data: bytes | None) -> Steps[None]:
        until_ms = instant_ms(when)
        self._must_be_running(NOT_RUNNING)
        row = MoveRow.pack(self.id, self.token, number(self._processed_on), self.entry_id, until_ms, data)
        result: MoveResult = yield MoveToDelayedCommand(self._queue_key, rows=[row])
        self._leave(result.outcomes[0], ACTION)

    def _data_at(self, step: object) -> bytes:
        """The job's data as they are stored now, with the member `step`."""
        if not isinstance(step, str):
            raise ValidationError(f"next_step must be text, not {type(step).__name__}")
        data: Any = self.data
        if not isinstance(data, Mapping):  # a model, whose stored form may be an object
            data = self._payload.load(self._payload.dump_data(data))
        if self.deserialization_failed or not isinstance(data, Mapping):
            raise ValidationError(NO_OBJECT)
        return self._payload.dump_data({**cast("Mapping[str, Any]", data), "step": step})

    @detour(DelayedError)
    def _delayed_error_steps(self, request: DelayedError) -> Steps[None]:
        return self._delay_steps(request.delayed_until, None)
