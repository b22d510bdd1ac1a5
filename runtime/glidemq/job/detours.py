"""Detours: the ways in which a run ends without an outcome, since its job is to wait for something and run again.

A processor takes one by calling a method of its job, or by raising a `DetourError`; the executor then does in its name
what the method would have done. Either way the server has settled the run by a command of its own and its token is
spent: whatever the processor returns or raises afterwards ends the lease and nothing else.

A new detour is an error class that derives from `DetourError`, and steps that are registered for it:

    class DelaySteps(DetourSteps[In, Out]):
        @detour(DelayedError)
        def _delayed_error_steps(self, request: DelayedError) -> Steps[None]:
            self._must_be_running("…")
            result = yield MoveToDelayedCommand(…)
            self._leave(result.codes[0], "Cannot move to delayed")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from glidemq.commands.fail import FAILED, REVOKED_REASON
from glidemq.commands.step import GONE, LEASE_LOST
from glidemq.errors import DetourError, JobNotFoundError, JobStateError, LeaseLostError
from glidemq.job.record import In, JobRecord, Out
from glidemq.job.stepping import Steps

F = TypeVar("F", bound=Callable[[Any, Any], Steps[Any]])

_STEPS: dict[type[DetourError], Callable[[Any, Any], Steps[Any]]] = {}


def detour(error: type[DetourError]) -> Callable[[F], F]:
    """Declare the decorated steps of a job as what settles a run whose processor has raised `error`."""

    def register(steps: F) -> F:
        _STEPS[error] = steps
        return steps

    return register


class DetourSteps(JobRecord[In, Out]):
    """What the steps of all detours have in common."""

    __slots__ = ()

    def detour_steps(self, request: DetourError) -> Steps[None]:
        """What the processor has asked for by raising `request`; nothing if its job has taken a detour already.

        Raises `request` itself if nobody has declared what it means, and what its steps raise.
        """
        if self.settled_as:
            return
        steps = next((_STEPS[kind] for kind in type(request).__mro__ if kind in _STEPS), None)
        if steps is None:
            raise request
        yield from steps(self, request)

    def _must_be_running(self, refusal: str) -> None:
        """Raise JobStateError, without asking the server, for a job that nobody processes here (any more)."""
        if not self.token or self.settled_as:
            raise JobStateError(refusal)

    def _leave(self, code: int, action: str) -> None:
        """Note how the server has answered the command that was to settle this run.

        code: of the command's row. A repeated command is told "already", which is as good as done; `FAILED` means that
        the job has failed for good, if nothing else is said since it was revoked. action: "Cannot …", for the message.
        """
        if code == GONE:
            raise self._gone()
        if code == LEASE_LOST:
            raise LeaseLostError(
                f"{action}: job {self.id} is in other hands by now, another run decides; nothing was changed"
            )
        if code == FAILED:
            self._has_failed(REVOKED_REASON)
        else:
            self.settled_as = "left"

    def _has_failed(self, reason: str) -> None:
        """Note that the server has let the job fail for good, for this reason."""
        self.settled_as = "failed"
        self._fields = {**self._fields, "failedReason": reason.encode()}

    def _gone(self) -> JobNotFoundError:
        return JobNotFoundError(f"job {self.id} does not exist in queue {self.queue_name!r} (any more)")
