"""What the pipeline needs from whatever runs the jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from glidemq.rings.cancel_board import CancelReason

if TYPE_CHECKING:
    from glidemq.pipeline.lease import Lease
    from glidemq.pipeline.queue_pump import QueuePump


class WorkLink(Protocol):
    """Hands leases to the code that runs jobs and brings outcomes back to the lease's pump.

    Implemented by the rings (`process.ring_link`) and, inside one process, by the worker (`actors.local_link`).
    """

    def wants(self, pump: QueuePump) -> tuple[int, int]:
        """(slots, ahead): jobs of this queue that can start now, and those that may wait right behind."""
        ...

    def collect(self) -> None:
        """Bring in the outcomes that lie ready, before a call that could carry them."""
        ...

    def reserve(self, pump: QueuePump, slots: int, ahead: int) -> None:
        """Count what a call in flight asks for, until `unreserve`."""
        ...

    def unreserve(self, pump: QueuePump) -> None:
        """The call is answered: what it was granted is dispatched, the rest is free for others."""
        ...

    def share_slots(self, one: QueuePump, other: QueuePump) -> bool:
        """Whether a job of either queue takes a slot from the other."""
        ...

    def dispatch(self, pump: QueuePump, leases: Sequence[Lease]) -> None:
        """Take charge of one queue's leases, in order. What cannot be placed waits, or is given back."""
        ...

    def recall(self, pump: QueuePump) -> None:
        """Give back all of one queue's jobs that have not started."""
        ...

    def settled(self, receipt: Any) -> None:
        """The server has accepted, or finally refused, the outcome that carried this receipt."""
        ...

    def abort(self, lease: Lease, reason: CancelReason) -> None:
        """Set the job's abort signal; for good when the lease is lost."""
        ...

    def end(self, lease: Lease) -> None:
        """End the run of a revoked job by force, if that can be done; called again while it goes on."""
        ...

    def is_alive(self, lease: Lease) -> bool:
        """Whether the lease may be extended: its process lives, is not stopped, and the job is within its time."""
        ...
