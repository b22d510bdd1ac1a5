"""What a gateway does first: it finds the jobs that its predecessor had placed, and makes them its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from glidemq.clock import monotonic_ns
from glidemq.commands.get_job import GetJobCommand
from glidemq.connection.connection import Connection
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.queue_pump import QueuePump
from glidemq.process.actor_channel import ActorChannel
from glidemq.process.messages import activation_of
from glidemq.rings.records import JobIdentity

log = logging.getLogger("glidemq.gateway")


def adopt_leases(
    channels: Iterable[ActorChannel], in_flight: InFlight, pump_of: Callable[[str], QueuePump | None]
) -> list[Lease]:
    """Rebuild the leases from the rings and ledgers, in flow order, so that no moving job is missed.

    Their outcomes may lie in the outbound rings already; those are read afterwards, as always.
    """
    adopted: list[Lease] = []
    for channel in channels:
        for seq, header in channel.side.survey().items():
            identity = JobIdentity.unpack(header)
            pump = pump_of(identity.queue.decode())
            if pump is None:
                log.error(
                    "a job of queue %r, which is not served any more, is left to run out", identity.queue
                )
                continue
            lease = Lease(seq, pump, activation_of(identity))
            lease.holder = channel
            lease.dispatched_ns = monotonic_ns()
            lease.timeout_ms = (
                0  # its own may be longer than the processor's: nobody is stopped before it is known
            )
            in_flight.add(lease)
            channel.adopt(lease)
            adopted.append(lease)
    if adopted:
        log.warning("took over %d jobs from the previous gateway; their processes ran on", len(adopted))
    return adopted


async def restore_options(leases: Iterable[Lease], connection: Connection) -> None:
    """Fetch what the rings do not carry: lock, timeout and retry options of the jobs taken over."""
    for lease in leases:
        fields = await connection.execute(
            GetJobCommand(lease.pump.keys.meta, job_id=lease.id.decode(errors="replace"), exclude_data=True)
        )
        if fields is not None:
            attempts_made = fields.get("attemptsMade", b"0")
            lease.restore(fields.get("opts", b"{}"), int(attempts_made) if attempts_made.isdigit() else 0)
