"""A running job pauses its group."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from glidemq.clock import wall_datetime
from glidemq.commands.fail import FAILED
from glidemq.commands.rate_limit_group import (
    NO_GROUP,
    CurrentJob,
    Extend,
    GroupPauseResult,
    GroupPauseRow,
    RateLimitGroupCommand,
    RequeuePosition,
)
from glidemq.errors import GroupRateLimitError, JobStateError, ValidationError, check_word
from glidemq.job.detours import DetourSteps, detour
from glidemq.job.record import In, Out
from glidemq.job.stepping import Steps
from glidemq.job.stored_values import number
from glidemq.options import Duration, duration_ms

ACTION: Final = "Cannot rate limit group"
# Why a job has failed that asked for that beside the pause of its group.
REASON: Final = "group rate limited"


class GroupPauseSteps(DetourSteps[In, Out]):
    """`rate_limit_group` and its error."""

    __slots__ = ()

    def _rate_limit_group_steps(
        self,
        duration: Duration,
        current_job: CurrentJob,
        requeue_position: RequeuePosition,
        extend: Extend,
    ) -> Steps[datetime]:
        pause_ms = duration_ms(
            duration,
            "duration",
            positive=True,
            sentence="duration must be a positive finite number (seconds)",
        )
        check_word("current_job", current_job, ("requeue", "fail"))
        check_word("requeue_position", requeue_position, ("front", "back"))
        check_word("extend", extend, ("max", "replace"))
        if self.ordering_key is None:
            raise ValidationError("rate_limit_group() requires a group key (set via ordering.key option)")
        self._must_be_running(f"{ACTION}: not_active")
        row = GroupPauseRow.pack(
            self.id,
            self.token,
            number(self._processed_on),
            self.entry_id,
            pause_ms,
            current=current_job,
            position=requeue_position,
            extend=extend,
        )
        result: GroupPauseResult = yield RateLimitGroupCommand(self._queue_key, rows=[row])
        code, resume_at_ms = result.outcomes[0]
        if code == NO_GROUP:
            raise JobStateError(f"{ACTION}: no_group")
        self._leave(code, ACTION)
        if current_job == "fail" and code != FAILED:
            self._has_failed(REASON)
        return wall_datetime(resume_at_ms)

    @detour(GroupRateLimitError)
    def _group_rate_limit_error_steps(self, request: GroupRateLimitError) -> Steps[datetime]:
        return self._rate_limit_group_steps(
            request.duration, request.current_job, request.requeue_position, request.extend
        )
