"""The work link of a gateway: leases go out through rings, outcomes come back through rings."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace
from typing import Any

import orjson

from glidemq.clock import monotonic_ns
from glidemq.errors import RingCorruptionError
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.outcome import NO_OPTIONS, failed
from glidemq.pipeline.queue_pump import QueuePump
from glidemq.process.actor_channel import ActorChannel, Receipt, wake_touched
from glidemq.process.messages import queue_of, service_ns_of
from glidemq.rings.cancel_board import CancelReason
from glidemq.rings.ledger import LedgerState
from glidemq.rings.records import Record, RecordKind

log = logging.getLogger("glidemq.gateway")

RECORDS_PER_READ = 256
# Looking a member up in its enum costs as much as reading a record.
_COMPLETION = int(RecordKind.COMPLETION)
_FAILURE = int(RecordKind.FAILURE)
# A job may wait this many times `max_ring_wait` behind others that each run as long as expected.
PATIENCE = 5


class RingLink:
    """Places leases with actor processes and brings their outcomes to the pumps.

    Owns: the channels' load, and the few leases that no actor can take at the moment. One loop uses it.
    """

    def __init__(
        self,
        channels: Sequence[ActorChannel],
        in_flight: InFlight,
        *,
        max_ring_wait_ns: int,
        pump_of: Callable[[str], QueuePump | None],
        on_command: Callable[[ActorChannel, Record, Receipt], None],
        is_process_stopped: Callable[[int], bool],
        on_freed: Callable[[], None],
    ) -> None:
        self.channels = channels
        self._in_flight = in_flight
        self._max_ring_wait_ns = max_ring_wait_ns
        self._pump_of = pump_of
        self._on_command = on_command
        self._is_process_stopped = is_process_stopped
        self._on_freed = on_freed
        self._reserved: dict[QueuePump, int] = {}
        self._waiting: deque[Lease] = deque()  # suspects, and what a full ring refused

    # -- WorkLink -------------------------------------------------------------------------------------------

    def wants(self, pump: QueuePump) -> tuple[int, int]:
        """Free slots, and how many jobs may wait behind running ones, over all actors that serve the queue."""
        queue = pump.queue
        free = backlog = actors = 0
        shares_slots = False
        for channel in self.channels:
            if queue in channel.concurrency and channel.accepts:
                slots = channel.free_slots(queue)
                if slots > 0:
                    free += slots
                else:
                    backlog -= slots
                actors += 1
                shares_slots = channel.is_sync
        if not actors:
            return 0, 0
        reserved = len(self._waiting) + self._reserved_beside(pump, shares_slots)
        ahead = pump.service_times.ahead(actors, self._max_ring_wait_ns)
        slots = max(free - reserved, 0)
        return slots, max(free + ahead - backlog - reserved - slots, 0)

    def _reserved_beside(self, pump: QueuePump, shares_slots: bool) -> int:
        """Jobs asked for by calls in flight that will take the same slots: a sync actor has one for all its queues."""
        if not shares_slots:
            return self._reserved.get(pump, 0)
        return sum(
            jobs
            for other, jobs in self._reserved.items()
            if any(channel.is_sync and other.queue in channel.concurrency for channel in self.channels)
        )

    def reserve(self, pump: QueuePump, jobs: int) -> None:
        """Other queues of the same actors must not ask for the slots that a call in flight already asks for."""
        left = self._reserved.get(pump, 0) + jobs
        if left > 0:
            self._reserved[pump] = left
        else:
            self._reserved.pop(pump, None)
        if jobs < 0:
            self._on_freed()

    def dispatch(self, pump: QueuePump, leases: Sequence[Lease]) -> None:
        """Give each lease to the actor that will be free first; hold those that no actor can take now."""
        queue = pump.queue
        # The freest first; ties go to the lowest index, so that a quiet cell keeps using the same warm processes.
        open_channels = [
            (-channel.free_slots(queue), channel.index, channel)
            for channel in self.channels
            if queue in channel.concurrency and channel.accepts and not channel.alone
        ]
        heapify(open_channels)
        for lease in leases:
            if lease.suspect or not open_channels:
                self._waiting.append(lease)
                continue
            load, index, channel = open_channels[0]
            if self._try_push(channel, lease):
                heapreplace(open_channels, (load + 1, index, channel))
            else:
                self._waiting.append(lease)
        if self._waiting:
            self.place_waiting()
        wake_touched(self.channels)

    def _try_push(self, channel: ActorChannel, lease: Lease) -> bool:
        try:
            return channel.try_push(lease)
        except ValueError as error:
            # A job that fits no ring would block its queue for ever.
            if self._in_flight.take(lease.seq) is not None:
                reason = f"The job is too large to be handed to an actor process: {error}"
                outcome = failed((*lease.fence, lease.entry_id), reason, NO_OPTIONS, attempts_made=0)
                lease.pump.fail(outcome.row, lease, None)
            return True

    def settled(self, receipt: Any) -> None:
        """The outcome in this record of the outbound ring is durable."""
        if receipt is not None:
            receipt.channel.acknowledge(receipt)

    def abort(self, lease: Lease, reason: CancelReason) -> None:
        """Set the abort signal that the job's own process reads without asking anybody."""
        lease.abort_reason = reason
        channel = lease.holder
        if isinstance(channel, ActorChannel):
            channel.side.cancel(lease.seq, reason)
            channel.side.replies.try_push(RecordKind.ABORT, lease.seq, bytes((int(reason),)))
            channel.bell.ring()

    def is_alive(self, lease: Lease) -> bool:
        """Extend leases only for processes that can still finish their job."""
        channel = lease.holder
        if not isinstance(channel, ActorChannel):
            return True
        return not self._is_process_stopped(channel.slot.pid)

    # -- placing --------------------------------------------------------------------------------------------

    def place_waiting(self) -> None:
        """Try again what could not be placed: suspects need an actor of their own."""
        for _ in range(len(self._waiting)):
            lease = self._waiting.popleft()
            if self._in_flight.get(lease.seq) is lease and not self._try_place(lease):
                self._waiting.append(lease)
        wake_touched(self.channels)

    def _try_place(self, lease: Lease) -> bool:
        queue = lease.pump.queue
        able = [
            channel
            for channel in self.channels
            if queue in channel.concurrency
            and channel.accepts
            and not channel.alone
            and not (lease.suspect and channel.leases)
        ]
        able.sort(key=lambda channel: -channel.free_slots(queue))
        return any(self._try_push(channel, lease) for channel in able)

    def requeue(self, lease: Lease) -> None:
        """Place a lease again whose actor died or was too slow to start it; same activation, new number."""
        if self._in_flight.take(lease.seq) is None:
            return
        if not lease.blob:  # taken over from an earlier gateway: its payload is gone
            lease.pump.give_back(lease)
            return
        lease.seq = self._in_flight.next_seq()
        lease.holder = None
        self._in_flight.add(lease)
        self.dispatch(lease.pump, (lease,))

    def give_back_waiting(self) -> None:
        """On drain: what could not be placed returns to the server."""
        while self._waiting:
            lease = self._waiting.popleft()
            if self._in_flight.take(lease.seq) is not None:
                lease.pump.give_back(lease)

    # -- reading --------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Read every outbound ring to its end."""
        freed = False
        for channel in self.channels:
            freed = self.read(channel) or freed
        if freed:
            self._on_freed()

    def has_unread(self) -> bool:
        """True when an outbound ring has something: asked after `prepare_sleep`, before sleeping."""
        return any(not (channel.corrupt or channel.side.outbound.is_empty()) for channel in self.channels)

    def read(self, channel: ActorChannel) -> bool:
        """Read one actor's outbound ring to its end and pass everything on; True when that freed slots.

        An actor whose native code overwrote its ring is killed: its jobs, as this process knows them, run again.
        """
        freed = False
        while not channel.corrupt:
            try:
                records = channel.side.outbound.read_many(RECORDS_PER_READ)
            except RingCorruptionError as error:
                log.error("actor %d (pid %d) is killed: %s", channel.index, channel.slot.pid, error)
                channel.give_up()
                break
            for record, position in records:
                freed = self.receive(channel, record, position) or freed
            if len(records) < RECORDS_PER_READ:
                break
        if freed and self._waiting:
            self.place_waiting()
        return freed

    def receive(self, channel: ActorChannel, record: Record, position: int) -> bool:
        """Pass on one record of an outbound ring; True when it freed a slot."""
        receipt = channel.receipt(position)
        kind, seq = record.kind, record.seq
        if kind in (_COMPLETION, _FAILURE):
            channel.take(seq)
            lease = self._in_flight.take(seq)
            pump = lease.pump if lease is not None else self._pump_of(queue_of(record.header))
            if pump is None:
                log.error(
                    "an outcome for queue %r, which this cell does not serve, was dropped",
                    queue_of(record.header),
                )
                channel.acknowledge(receipt)
            elif kind == _COMPLETION:
                pump.complete(record.body, lease, receipt, service_ns_of(record.header))
            else:
                pump.fail(record.body, lease, receipt)
            return True
        if kind == RecordKind.COMMAND:
            self._on_command(channel, record, receipt)
            return False
        if kind == RecordKind.SKIPPED:
            lease = channel.take(seq)
            channel.acknowledge(receipt)
            if lease is not None and not channel.side.cancels.reason_for(seq):
                channel.unserve(lease.pump.queue)
            if lease is not None:  # taken back while it was being started
                self._after_take_back(lease)
            return True
        if kind == RecordKind.MANIFEST:
            channel.manifest = orjson.loads(record.body)
        channel.acknowledge(receipt)
        return False

    # -- taking back ----------------------------------------------------------------------------------------

    def take_back_overdue(self) -> None:
        """Take back what waits behind a job that runs longer than anybody expected (feasibility 21).

        Judged by the running job, not by the waiting ones: those are planned to wait for up to `max_ring_wait`, and on
        a busy host a little longer, which alone is no reason to give up fetching ahead.
        """
        now_ns = monotonic_ns()
        for channel in self.channels:
            if channel.has_backlog:
                expected_ns = self._max_ring_wait_ns
                if channel.is_sync and now_ns - channel.slot.job_started_ns < expected_ns:
                    expected_ns *= PATIENCE
                self._take_back(channel, now_ns - expected_ns, blame=True)

    def take_back_unstarted(self, channel: ActorChannel) -> None:
        """Take back everything that the actor has not started: it is about to go."""
        self._take_back(channel, monotonic_ns() + 1, blame=False)

    def _take_back(self, channel: ActorChannel, overdue_ns: int, *, blame: bool) -> None:
        """blame: nothing is fetched ahead behind jobs with the running ones' names until they are relearned."""
        states = channel.side.ledger.states()
        overdue = [
            lease.seq
            for lease in channel.leases.values()
            if lease.dispatched_ns < overdue_ns and states.get(lease.seq) != LedgerState.STARTED
        ]
        if not overdue:
            return
        if blame:
            for seq, state in states.items():
                running = channel.leases.get(seq)
                if running is not None and state == LedgerState.STARTED:
                    running.pump.service_times.distrust(running.name)
        for seq in channel.side.take_back(overdue):
            lease = channel.take(seq)
            if lease is not None:
                self._after_take_back(lease)

    def _after_take_back(self, lease: Lease) -> None:
        queue = lease.pump.queue
        for channel in self.channels:
            if queue in channel.concurrency and channel.accepts and channel.free_slots(queue) > 0:
                self.requeue(lease)
                return
        if self._in_flight.take(lease.seq) is not None:
            lease.pump.give_back(lease)
