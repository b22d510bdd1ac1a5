"""What a death means: in words for the log, and for the slot's next process."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from glidemq.process_spec import EXIT_FAILED, EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE
from glidemq.shared_memory import KillReason, StatusSlot
from glidemq_supervisor.process_slot import Phase, ProcessSlot
from glidemq_supervisor.reaper import ChildExit
from glidemq_supervisor.restart_policy import Death, RestartLimits, RestartPolicy

log = logging.getLogger("glidemq.supervisor")


@dataclass(frozen=True, slots=True)
class Fatal:
    """The supervisor has to end: with this status, for this reason (None: the child has said it)."""

    exit_status: int
    reason: str | None
    slot: ProcessSlot


class ExitJudge:
    """Decides, for each dead process of the runtime, whether and when another one follows.

    Owns: the restart policy of each slot. Read by: the supervisor's loop.
    """

    def __init__(self, limits: RestartLimits) -> None:
        self._limits = limits
        self._policies: dict[ProcessSlot, RestartPolicy] = {}

    def judge(self, slot: ProcessSlot, exit_: ChildExit, now: float, *, others_serve: bool) -> Fatal | None:
        """Record the death on the slot and log it; returns the reason to end, if it is one.

        With `others_serve`, processes of the app's previous version are at work while the new one does not
        come up: then there is something to lose by ending, and restarts go on.
        """
        phase, page = slot.phase, slot.page
        death = self._classify(slot, exit_)
        lifetime_s = now - slot.forked_at
        progress = not slot.address.is_gateway and page.jobs_done > 0
        what = self._describe(slot, exit_, phase)
        slot.gone(exit_.wait_status, now)
        if not slot.was_ready and phase is not Phase.LEAVING and exit_.code in (EXIT_UNREACHABLE, EXIT_USAGE):
            # The child has said in one line what is wrong; starting it again would only say it again.
            return Fatal(EXIT_USAGE if exit_.code == EXIT_USAGE else EXIT_FAILED, None, slot)
        if death is Death.EXPECTED:
            orderly = exit_.code == EXIT_OK or phase is Phase.KILLED
            log.log(logging.INFO if orderly else logging.WARNING, "%s", what)
            return None
        policy = self._policies.setdefault(slot, RestartPolicy(self._limits))
        verdict = policy.died(death, now, lifetime_s=lifetime_s, made_progress=progress)
        slot.due = now + verdict.delay_s
        if verdict.give_up and not others_serve:
            limits = self._limits
            return Fatal(
                EXIT_FAILED,
                f"{what}; that is more than {limits.intensity} times in {limits.window_s:g} s: giving up. "
                "Its log lines say why; nothing is lost, unfinished jobs stay in their queues",
                slot,
            )
        follow = f"; the next one starts in {verdict.delay_s:g} s" if slot.wanted else ""
        log.error("%s%s", what, follow)
        return None

    def _classify(self, slot: ProcessSlot, exit_: ChildExit) -> Death:
        page, phase = slot.page, slot.phase
        if phase is Phase.LEAVING:
            return Death.EXPECTED
        if phase is Phase.KILLED:
            return Death.ON_ITS_OWN if page.kill_reason is KillReason.HUNG else Death.EXPECTED
        if page.gateway_kill_reason is not KillReason.NONE:
            return Death.EXPECTED  # it obeyed; the job it ran has its own limit of attempts
        if slot.address.is_gateway and exit_.code == EXIT_UNREACHABLE and slot.was_ready:
            return Death.SERVER_AWAY
        return Death.IN_JOB if slot.in_job else Death.ON_ITS_OWN

    def _describe(self, slot: ProcessSlot, exit_: ChildExit, phase: Phase) -> str:
        page = slot.page
        text = f"{slot.label} (pid {exit_.pid}) {exit_}"
        reason = page.kill_reason if phase is Phase.KILLED else page.gateway_kill_reason
        if reason is not KillReason.NONE:
            text += f" on purpose ({reason.name.lower().replace('_', ' ')})"
        if slot.in_job:
            text += f" while running {_what_ran(page)}"
        return text


def _what_ran(page: StatusSlot) -> str:
    """What a process had in hand when it died. The note of one that runs coroutines is as old as its last beat."""
    if " of " in page.note:
        return page.note
    return "a job" if page.held == 1 else f"{page.held} jobs"
