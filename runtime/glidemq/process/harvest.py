"""After an actor process died: accounts for every job in its hands, then clears its rings for the next one."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence

from glidemq.commands.fail import REVOKED_REASON
from glidemq.commands.release import ENDED_ON_PURPOSE
from glidemq.errors import RingCorruptionError
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.outcome import (
    BATCH_TIMEOUT_REASON,
    TIMEOUT_REASON,
    failed,
    read_options,
)
from glidemq.process.actor_channel import ActorChannel
from glidemq.process.ring_link import RingLink
from glidemq.rings.ledger import LedgerState
from glidemq.shared_memory.status_slot import KillReason

log = logging.getLogger("glidemq.gateway")


def death_of(wait_status: int) -> str:
    """How a process ended, in a word: the signal's name, or its exit status."""
    if os.WIFSIGNALED(wait_status):
        return signal.Signals(os.WTERMSIG(wait_status)).name
    return f"exit status {os.WEXITSTATUS(wait_status)}"


class Harvester:
    """Decides what becomes of a dead actor's jobs (feasibility 6 and 7, ruling 1).

    An outcome that lies in the ring counts, whatever the ledger says. What never started goes elsewhere. A job that
    ran alone is charged with the crash; several that ran together are suspects, and each runs again alone.
    """

    def __init__(self, link: RingLink, in_flight: InFlight) -> None:
        self._link = link
        self._in_flight = in_flight

    def harvest(self, channel: ActorChannel) -> None:
        """Account for everything, then raise the segment's generation."""
        slot = channel.slot
        generation = slot.generation
        started = self._collect(channel)
        left = list(channel.leases.values())
        timed_out, revoked = channel.timed_out.copy(), channel.revoked.copy()
        # A loop that hung was hung by a job: that death is charged like any other crash.
        planned = slot.kill_reason not in (KillReason.NONE, KillReason.HUNG)
        killed_for_timeout = slot.gateway_kill_reason is KillReason.JOB_TIMEOUT
        killed_for_revoked = slot.gateway_kill_reason is KillReason.REVOKED
        wait_status = slot.exit_status or 0
        # Before anything is placed again: this actor's load is gone.
        channel.reset(generation)
        crashed: list[Lease] = []
        for lease in left:
            if killed_for_timeout and lease.seq in timed_out:
                self._fail_timed_out(lease)
            elif killed_for_revoked and lease.seq in revoked:
                self._fail_revoked(lease)
            elif lease.seq not in started:
                self._link.requeue(lease)
            elif planned or killed_for_timeout or killed_for_revoked:
                self._give_back(lease, ENDED_ON_PURPOSE)
            else:  # also an exit with status 0: no processor has the right to end its process
                crashed.append(lease)
        self._charge(channel.label, crashed, wait_status)
        slot.harvested_generation = generation

    def _collect(self, channel: ActorChannel) -> set[int]:
        """Read the outcomes that lie in the ring; the numbers of the jobs that had started and have none."""
        try:
            # The ledger before the ring: the actor pushes an outcome before it forgets the job.
            harvest = channel.side.harvest()
        except RingCorruptionError as error:
            log.error("%s left a corrupt ring: %s", channel.label, error)
            self._link.read(channel)  # as far as that goes
            unread, states = channel.side.activations.unread_sequences(), channel.side.ledger.states()
            waiting = {seq for seq in channel.leases if seq in unread or states.get(seq) is LedgerState.TAKEN}
            return set(channel.leases) - waiting
        for record, position in harvest.outbound:
            self._link.receive(channel, record, position)
        return {entry.seq for entry in harvest.started}

    def _charge(self, actor: str, crashed: Sequence[Lease], wait_status: int) -> None:
        if not crashed:
            return
        death = death_of(wait_status)
        if len(crashed) == 1:
            lease = crashed[0]
            log.error(
                "%s died by %s while running job %s of %r, which is charged with the crash",
                actor,
                death,
                lease.id.decode(errors="replace"),
                lease.pump.queue,
            )
            self._give_back(lease, death)
            return
        log.error(
            "%s died by %s while running %d jobs: each of them runs again alone, uncharged",
            actor,
            death,
            len(crashed),
        )
        for lease in crashed:
            self._give_back(lease, True)

    def _give_back(self, lease: Lease, crash_reason: str | bool) -> None:
        if self._in_flight.take(lease.seq) is not None:
            lease.pump.give_back(lease, crash_reason)

    def _fail_revoked(self, lease: Lease) -> None:
        if self._in_flight.take(lease.seq) is not None:
            fence = (*lease.fence, lease.entry_id)
            outcome = failed(fence, REVOKED_REASON, read_options(lease.opts), attempts_made=0, for_good=True)
            lease.pump.fail(outcome.row, lease, None)

    def _fail_timed_out(self, lease: Lease) -> None:
        if self._in_flight.take(lease.seq) is None:
            return
        outcome = failed(
            (*lease.fence, lease.entry_id),
            TIMEOUT_REASON if lease.pump.settings.batch is None else BATCH_TIMEOUT_REASON,
            read_options(lease.opts),
            attempts_made=lease.attempts_made,
        )
        lease.pump.fail(outcome.row, lease, None)
