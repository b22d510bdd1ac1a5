"""Ends the run of a revoked job that does not stop by itself."""

from __future__ import annotations

import logging
from typing import Final

from glidemq.clock import monotonic_ns
from glidemq.pipeline.lease import Lease
from glidemq.process.actor_channel import ActorChannel
from glidemq.process.messages import END
from glidemq.rings.records import RecordKind
from glidemq.shared_memory.status_slot import KillReason

log = logging.getLogger("glidemq.gateway")

# A loop that has not turned for so long cancels nothing.
HUNG_NS: Final = 5_000_000_000


def end_by_force(lease: Lease) -> None:
    """Kill the process of a plain function, or have the coroutine cancelled; jobs that have not started end anyway.

    Other jobs of a process that is killed are given back uncharged. Nothing is done to a batch.
    """
    channel = lease.holder
    if not isinstance(channel, ActorChannel) or lease.pump.settings.batch is not None:
        return
    if channel.is_sync:
        if channel.slot.current_seq == lease.seq:
            _kill(channel, lease)
    elif monotonic_ns() - channel.slot.beat_ns > HUNG_NS:
        _kill(channel, lease)
    else:
        log.warning("%s: its coroutine is cancelled", _what_happened(lease))
        channel.try_reply(RecordKind.ABORT, lease.seq, b"", END)
        channel.bell.ring()


def _kill(channel: ActorChannel, lease: Lease) -> None:
    log.warning("%s: %s (pid %d) is killed", _what_happened(lease), channel.label, channel.slot.pid)
    channel.revoked.add(lease.seq)
    channel.kill(KillReason.REVOKED)


def _what_happened(lease: Lease) -> str:
    return f"job {lease.id.decode(errors='replace')} of {lease.pump.queue!r} was revoked and has not stopped"
