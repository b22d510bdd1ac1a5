"""A running job waits for a signal."""

from __future__ import annotations

from typing import Final

from glidemq.commands.size_limit import check_size
from glidemq.commands.suspend import SuspendCommand, SuspendResult, SuspendRow
from glidemq.errors import SuspendError, ValidationError
from glidemq.job.detours import DetourSteps, detour
from glidemq.job.record import In, Out
from glidemq.job.stepping import Steps
from glidemq.job.stored_values import number
from glidemq.options import Duration, duration_ms

ACTION: Final = "Cannot suspend job"


class SuspendSteps(DetourSteps[In, Out]):
    """`suspend` and its error."""

    __slots__ = ()

    def _suspend_steps(self, reason: str | None, timeout: Duration, on_resume: object = None) -> Steps[None]:
        timeout_ms = duration_ms(timeout, "timeout")
        if on_resume is not None and not callable(on_resume):
            raise ValidationError(f"on_resume must be a function of the signals, not {on_resume!r:.80}")
        if reason is not None:
            _check_reason(reason)
        self._must_be_running("suspend() can only be used while the job is active in a Worker")
        row = SuspendRow.pack(
            self.id, self.token, number(self._processed_on), self.entry_id, reason, timeout_ms
        )
        result: SuspendResult = yield SuspendCommand(self._queue_key, rows=[row])
        self._leave(result.outcomes[0], ACTION)

    @detour(SuspendError)
    def _suspend_error_steps(self, request: SuspendError) -> Steps[None]:
        return self._suspend_steps(request.reason, request.timeout, request.on_resume)


def _check_reason(reason: object) -> None:
    if not isinstance(reason, str):
        raise ValidationError(f"reason must be text, not {type(reason).__name__}")
    try:
        check_size("Suspend reason", reason.encode())
    except UnicodeEncodeError:
        raise ValidationError("reason must be valid Unicode") from None
