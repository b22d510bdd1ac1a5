"""The gateway's end of one actor process: its rings, its load, and the leases in its hands."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from glidemq.clock import monotonic_ns
from glidemq.errors import SharedMemoryError
from glidemq.pipeline.lease import Lease
from glidemq.process.batch_lanes import BatchLanes
from glidemq.process.messages import identity_of
from glidemq.rings.actor_segment import ActorSegment
from glidemq.rings.ledger import LedgerState
from glidemq.rings.records import RecordKind
from glidemq.shared_memory.doorbell import Doorbell
from glidemq.shared_memory.status_slot import Control, KillReason, ProcessState, StatusSlot

log = logging.getLogger("glidemq.gateway")

_ACTIVATION = int(RecordKind.ACTIVATION)
_FILL_FIRST = -(1 << 62)


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

    def __init__(
        self, index: int, slot: StatusSlot, segment: ActorSegment, bell: Doorbell, *, cell: int = 0
    ) -> None:
        self.index = index
        self.label = f"actor {cell}.{index}"
        """What the log calls it, in all processes."""
        self.slot = slot
        self.bell = bell
        self.side = segment.gateway_side()
        self.attached_generation = 0
        self.epoch = 0  # rises when the rings are reset: receipts from before mean nothing then
        self.concurrency: Mapping[str, int] = {}
        self.batch_sizes: Mapping[str, int] = {}  # of the queues whose processor takes several jobs at once
        self.batches = BatchLanes()
        self.is_sync = True
        self.manifest: Mapping[str, Any] | None = None  # what the process said when it became ready
        self.leases: dict[int, Lease] = {}  # by seq, in the order of dispatch
        self.load: dict[str, int] = {}  # jobs in hand by queue
        self.expected_ns = 0  # how long they all are expected to run
        self.alone_for: Lease | None = None  # a suspect that runs here, or shall, and nothing else may
        self.corrupt = False  # the outbound ring cannot be read any further
        self.touched = False
        self.timed_out: set[int] = set()
        self.revoked: set[int] = set()  # jobs for whose sake the process is killed
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

    def attach(
        self, concurrency: Mapping[str, int], *, is_sync: bool, batch_sizes: Mapping[str, int] | None = None
    ) -> None:
        """Begin to serve the process that has just become ready."""
        self.concurrency = concurrency
        most = self.side.ledger.slots
        self.batch_sizes = {queue: min(size, most) for queue, size in (batch_sizes or {}).items()}
        self.is_sync = is_sync
        self.attached_generation = self.slot.generation
        self.load = dict.fromkeys(concurrency, 0)
        for lease in self.leases.values():  # those found in the ledger by a gateway that took over
            self.load[lease.pump.queue] = self.load.get(lease.pump.queue, 0) + 1
        self._assume_batches()
        self._close_pidfd()
        with contextlib.suppress(OSError):  # dead, and perhaps reaped already: its pid is 0 then
            self._pidfd = os.pidfd_open(self.slot.pid)
        if self.corrupt:
            self.give_up()

    def _assume_batches(self) -> None:
        """What an earlier gateway was told about the batches that run is gone: suppose that they are full."""
        states = self.side.ledger.states()
        for queue, size in self.batch_sizes.items():
            running = [
                lease.seq
                for lease in self.leases.values()
                if lease.pump.queue == queue and states.get(lease.seq) is LedgerState.STARTED
            ]
            for first in range(0, len(running), size):
                self.batches.started(queue, running[first : first + size])

    def has_started(self, lease: Lease) -> bool:
        """Whether the process has begun to run it; while it lives, the answer may be old."""
        return self.side.ledger.states().get(lease.seq) is LedgerState.STARTED

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
            log.error("%s (pid %d) is killed: %s", self.label, self.slot.pid, error)
        self.corrupt = True
        self.signal(signal.SIGKILL)

    def reset(self, generation: int) -> None:
        """Forget the dead process: empty rings, ledger and load, for the generation after `generation`."""
        self.side.reset(generation + 1)
        self.epoch += 1
        self.manifest = None
        self.concurrency = {}
        self.batches.clear()
        self.leases.clear()
        self.load = {}
        self.expected_ns = 0
        self.alone_for = None
        self.corrupt = False
        self.timed_out.clear()
        self.revoked.clear()
        self._close_pidfd()

    def _close_pidfd(self) -> None:
        fd, self._pidfd = self._pidfd, -1
        if fd >= 0:
            os.close(fd)

    # -- work -----------------------------------------------------------------------------------------------

    def free_slots(self, queue: str) -> int:
        """Jobs of `queue` that would start at once; negative by the number that wait behind running ones."""
        size = self.batch_sizes.get(queue)
        if self.is_sync:
            most = size if size is not None and self._gathers(queue) else 1
            return most - len(self.leases)
        if size is None:
            return self.concurrency[queue] - self.load[queue]
        batches, jobs = self.batches.running(queue)
        return jobs + (self.concurrency[queue] - batches) * size - self.load[queue]

    def _gathers(self, queue: str) -> bool:
        """Whether a sync actor has nothing to do but to wait for more jobs of this queue."""
        return self.batches.idle and self.load[queue] == len(self.leases)

    def soon_free(self, queue: str, soon_ns: int) -> int:
        """Jobs of `queue` that would start as good as at once on a sync actor.

        It counts as free for a queue of which it has nothing in hand if what it has is short, so that a queue that
        keeps its rings filled keeps no other one out; likewise if all that it has waits for company, which other work
        ends.
        """
        size = self.batch_sizes.get(queue)
        if size is not None and self._gathers(queue):
            return size - len(self.leases)
        if self.load[queue]:
            return 0
        only_gathers = self.batches.idle and sum(map(self.load.__getitem__, self.batch_sizes)) == len(
            self.leases
        )
        return (size or 1) if only_gathers or self.expected_ns <= soon_ns else 0

    def busyness(self, queue: str) -> int:
        """The lower, the sooner a job of `queue` would start here; lowest where a batch waits to be filled."""
        size = self.batch_sizes.get(queue)
        if size is not None and (free := self.free_slots(queue)) > 0 and free % size:
            return _FILL_FIRST
        return self.expected_ns if self.is_sync else -self.free_slots(queue)

    @property
    def has_backlog(self) -> bool:
        """True when a job in this actor's hands waits for another one to end."""
        if self.is_sync:
            return len(self.leases) > 1
        return any(self.free_slots(queue) < 0 for queue in self.concurrency)

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

    def note_batch(self, sequences: Sequence[int]) -> None:
        """The actor has started these jobs together."""
        lease = self.leases.get(sequences[0])
        if lease is not None:
            self.batches.started(lease.pump.queue, sequences)

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
            self.batches.ended(seq)
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
