"""Enforces each job's `timeout` from outside the process that runs it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from glidemq.clock import monotonic_ns
from glidemq.pipeline.lease import Lease
from glidemq.process.actor_channel import ActorChannel
from glidemq.process_spec import SOFT_TIMEOUT_SIGNAL
from glidemq.rings.cancel_board import CancelReason
from glidemq.shared_memory.status_slot import KillReason

log = logging.getLogger("glidemq.gateway")


class Deadlines:
    """Watches the running jobs that have a timeout.

    A sync job gets its abort signal set and is interrupted between two bytecodes; if it still runs after the grace
    (native code, or code that swallows everything), its process is killed. A coroutine is cancelled by its own loop;
    this one only steps in when that loop itself no longer turns.
    """

    def __init__(self, channels: Sequence[ActorChannel], *, kill_grace_ns: int) -> None:
        self._channels = channels
        self._kill_grace_ns = kill_grace_ns

    def check(self) -> None:
        """Look at every running job once; cheap when none has a timeout."""
        now_ns = monotonic_ns()
        for channel in self._channels:
            if channel.is_sync:
                running = channel.leases.get(channel.slot.current_seq)
                if running is not None and running.timeout_ms:
                    self._check(channel, running, channel.slot.job_started_ns, now_ns)
                continue
            for lease in channel.leases.values():
                if lease.timeout_ms:
                    self._check(channel, lease, lease.dispatched_ns, now_ns)

    def _check(self, channel: ActorChannel, lease: Lease, started_ns: int, now_ns: int) -> None:
        overrun_ns = now_ns - started_ns - lease.timeout_ms * 1_000_000
        if overrun_ns < 0 or not self._has_started(channel, lease):
            return
        if lease.seq not in channel.timed_out:
            for seq in channel.batches.companions(lease.seq):  # they end together
                channel.timed_out.add(seq)
                channel.side.cancel(seq, CancelReason.TIMEOUT)
            if channel.is_sync:
                channel.signal(SOFT_TIMEOUT_SIGNAL)
        # A healthy loop needs its own grace to cancel the coroutine, so it gets twice as long.
        grace_ns = self._kill_grace_ns if channel.is_sync else 2 * self._kill_grace_ns
        loop_turns = not channel.is_sync and now_ns - channel.slot.beat_ns < grace_ns
        if overrun_ns > grace_ns and not loop_turns:
            log.error(
                "job %s of %r overran its timeout of %.3g s and did not end within %.3g s: %s (pid %d) is killed",
                lease.id.decode(errors="replace"),
                lease.pump.queue,
                lease.timeout_ms / 1000,
                grace_ns / 1e9,
                channel.label,
                channel.slot.pid,
            )
            channel.kill(KillReason.JOB_TIMEOUT)

    @staticmethod
    def _has_started(channel: ActorChannel, lease: Lease) -> bool:
        """False for what an async actor has taken and cannot start yet; asked only once the time seems to be up."""
        return channel.is_sync or channel.has_started(lease)
