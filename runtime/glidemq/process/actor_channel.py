"""The gateway's end of one actor process: its rings, its load, and the leases in its hands."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
from collections.abc import Mapping
from typing import Any, NamedTuple

from glidemq.clock import monotonic_ns
from glidemq.errors import SharedMemoryError
from glidemq.pipeline.lease import Lease
from glidemq.process.messages import identity_of
from glidemq.rings.actor_segment import ActorSegment
from glidemq.rings.records import RecordKind
from glidemq.shared_memory.doorbell import Doorbell
from glidemq.shared_memory.status_slot import Control, KillReason, ProcessState, StatusSlot

log = logging.getLogger("glidemq.gateway")

_ACTIVATION = int(RecordKind.ACTIVATION)


class Receipt(NamedTuple):
    """One record of an outbound ring that may not be forgotten before its effect is durable."""

    channel: ActorChannel
    epoch: int
    position: int


class ActorChannel:
    """One actor slot of the cell, whoever lives in it.

    Owns: the gateway side of the slot's segment, and a pidfd of the process that is attached.
    Written by: the ring link. Stops when: the gateway ends.
    """

    def __init__(self, index: int, slot: StatusSlot, segment: ActorSegment, bell: Doorbell) -> None:
        self.index = index
        self.slot = slot
        self.bell = bell
        self.side = segment.gateway_side()
        self.attached_generation = 0
        self.epoch = 0  # rises when the rings are reset: receipts from before mean nothing then
        self.concurrency: Mapping[str, int] = {}
        self.is_sync = True
        self.manifest: Mapping[str, Any] | None = None  # what the process said when it became ready
        self.leases: dict[int, Lease] = {}  # by seq, in the order of dispatch
        self.load: dict[str, int] = {}  # jobs in hand by queue
        self.expected_ns = 0  # how long they all are expected to run
        self.alone_for: Lease | None = None  # a suspect that runs here, or shall, and nothing else may
        self.corrupt = False  # the outbound ring cannot be read any further
        self.touched = False
        self.timed_out: set[int] = set()
        self.soft_killed_ns = 0
        self._pidfd = -1

    # -- life -----------------------------------------------------------------------------------------------

    @property
    def accepts(self) -> bool:
        """True when the process is ready and nobody wants it to go."""
        slot = self.slot
        return (
            not self.corrupt
            and self.attached_generation == slot.generation
            and slot.state is ProcessState.READY
            and slot.control is Control.RUN
        )

    def attach(self, concurrency: Mapping[str, int], *, is_sync: bool) -> None:
        """Begin to serve the process that has just become ready."""
        self.concurrency = concurrency
        self.is_sync = is_sync
        self.attached_generation = self.slot.generation
        self.load = dict.fromkeys(concurrency, 0)
        for lease in self.leases.values():  # those found in the ledger by a gateway that took over
            self.load[lease.pump.queue] = self.load.get(lease.pump.queue, 0) + 1
        self._close_pidfd()
        with contextlib.suppress(OSError):  # dead, and perhaps reaped already: its pid is 0 then
            self._pidfd = os.pidfd_open(self.slot.pid)
        if self.corrupt:
            self.give_up()

    @property
    def alive(self) -> bool:
        """True while the attached process runs; a dead one that nobody has reaped yet does not."""
        if self._pidfd < 0:
            return False
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    def unserve(self, queue: str) -> None:
        """The process does not know this queue: it runs another version of the app."""
        self.concurrency = {name: jobs for name, jobs in self.concurrency.items() if name != queue}

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to exactly the attached process, whatever happened to its pid since."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self, reason: KillReason) -> None:
        """SIGKILL, with the reason on the board so that the death is understood."""
        self.slot.gateway_kill_reason = reason
        self.signal(signal.SIGKILL)

    def give_up(self, error: SharedMemoryError | None = None) -> None:
        """End a process whose rings cannot be trusted any more; that is a crash like any other."""
        if not self.corrupt:
            log.error("actor %d (pid %d) is killed: %s", self.index, self.slot.pid, error)
        self.corrupt = True
        self.signal(signal.SIGKILL)

    def reset(self, generation: int) -> None:
        """Forget the dead process: empty rings, ledger and load, for the generation after `generation`."""
        self.side.reset(generation + 1)
        self.epoch += 1
        self.manifest = None
        self.concurrency = {}
        self.leases.clear()
        self.load = {}
        self.expected_ns = 0
        self.alone_for = None
        self.corrupt = False
        self.timed_out.clear()
        self.soft_killed_ns = 0
        self._close_pidfd()

    def _close_pidfd(self) -> None:
        fd, self._pidfd = self._pidfd, -1
        if fd >= 0:
            os.close(fd)

    # -- work -----------------------------------------------------------------------------------------------

    def free_slots(self, queue: str) -> int:
        """Jobs of `queue` that would start at once; negative by the number that wait behind running ones."""
        if self.is_sync:
            return 1 - len(self.leases)
        return self.concurrency[queue] - self.load[queue]

    def busyness(self, queue: str) -> int:
        """The lower, the sooner a job of `queue` would start here."""
        return self.expected_ns if self.is_sync else self.load[queue] - self.concurrency[queue]

    @property
    def has_backlog(self) -> bool:
        """True when a job in this actor's hands waits for another one to end."""
        if self.is_sync:
            return len(self.leases) > 1
        return any(self.load[queue] > jobs for queue, jobs in self.concurrency.items())

    def try_push(self, lease: Lease) -> bool:
        """Put the lease into the activation ring; False when the ring is full.

        Raises ValueError for a job that no ring and no ledger can hold.
        """
        header = identity_of(lease)
        if len(header) > self.side.ledger.header_limit:
            raise ValueError(
                f"its id and queue name are too long by {len(header) - self.side.ledger.header_limit}"
            )
        try:
            pushed = self.side.activations.try_push(_ACTIVATION, lease.seq, header, lease.blob)
        except SharedMemoryError as error:
            self.give_up(error)
            return False
        if not pushed:
            return False
        lease.dispatched_ns = monotonic_ns()
        lease.expected_ns = lease.pump.service_times.expected_ns(lease.name)
        lease.holder = self
        self.adopt(lease)
        self.touched = True
        return True

    def try_reply(self, kind: RecordKind, seq: int, header: bytes, body: bytes) -> bool:
        """Put a record into the reply ring; False when it is full, or damaged and of no use any more."""
        try:
            return self.side.replies.try_push(kind, seq, header, body)
        except SharedMemoryError as error:
            self.give_up(error)
            return False

    def adopt(self, lease: Lease) -> None:
        """Count the lease as being in this actor's hands."""
        self.leases[lease.seq] = lease
        queue = lease.pump.queue
        self.load[queue] = self.load.get(queue, 0) + 1
        self.expected_ns += lease.expected_ns
        if lease.suspect:
            self.alone_for = lease

    def expect(self, lease: Lease, expected_ns: int) -> None:
        """Correct what was expected of a job in this actor's hands."""
        self.expected_ns += expected_ns - lease.expected_ns
        lease.expected_ns = expected_ns

    def take(self, seq: int) -> Lease | None:
        """The actor is done with this lease, one way or another."""
        lease = self.leases.pop(seq, None)
        if lease is not None:
            self.load[lease.pump.queue] -= 1
            self.expected_ns -= lease.expected_ns
            self.timed_out.discard(seq)
            if self.alone_for is lease:
                self.alone_for = None
        return lease

    # -- acknowledging --------------------------------------------------------------------------------------

    def receipt(self, position: int) -> Receipt:
        """For a record that was read but whose effect is still on its way."""
        return Receipt(self, self.epoch, position)

    def acknowledge(self, receipt: Receipt) -> None:
        """The record's effect is durable: the ring may forget it once all before it are durable too."""
        if receipt.epoch == self.epoch:
            self.side.outbound.settle(receipt.position)

    def close(self) -> None:
        """Release what this end owns."""
        self._close_pidfd()


def wake_touched(channels: Any) -> None:
    """Ring the bell of every actor that was given something since the last call."""
    for channel in channels:
        if channel.touched:
            channel.touched = False
            channel.bell.ring()
