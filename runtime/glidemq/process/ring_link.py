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
from glidemq.pipeline.window import UNKNOWN_NS
from glidemq.process.actor_channel import ActorChannel, Receipt, wake_touched
from glidemq.process.forced_end import end_by_force
from glidemq.process.messages import queue_of, service_ns_of, tokens_of
from glidemq.rings.cancel_board import CancelReason
from glidemq.rings.ledger import LedgerState
from glidemq.rings.records import Record, RecordKind, unpack_sequences

log = logging.getLogger("glidemq.gateway")

RECORDS_PER_READ = 256
# Looking a member up in its enum costs as much as reading a record.
_COMPLETION = int(RecordKind.COMPLETION)
_FAILURE = int(RecordKind.FAILURE)
# A job may wait this many times `max_ring_wait` behind others that each run as long as expected.
PATIENCE = 5
# An actor with this many times `max_ring_wait` of other queues' work in hand is as good as free.
SOON = 2


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
        may_queue_up: Callable[[QueuePump], bool],
    ) -> None:
        self.channels = channels
        self._in_flight = in_flight
        self._max_ring_wait_ns = max_ring_wait_ns
        self._pump_of = pump_of
        self._on_command = on_command
        self._is_process_stopped = is_process_stopped
        self._on_freed = on_freed
        self._may_queue_up = may_queue_up
        self._reserved: dict[
            QueuePump, tuple[int, int]
        ] = {}  # slots and jobs ahead that calls in flight ask for
        self._waiting: deque[Lease] = deque()  # suspects, and what a full ring refused

    # -- WorkLink -------------------------------------------------------------------------------------------

    def wants(self, pump: QueuePump) -> tuple[int, int]:
        """Jobs that may start now, and jobs that may wait behind running ones, over all actors that serve the queue.

        A sync actor has one slot for all its queues, and nothing is to wait behind a job that takes long. A queue of
        less weight waits for its turn.
        """
        queue = pump.queue
        free = room = actors = 0
        shared = False
        for channel in self.channels:
            if queue not in channel.concurrency or channel.alone_for is not None or not channel.accepts:
                continue
            slots = channel.free_slots(queue)
            if channel.is_sync:
                shared = True
                soon = channel.soon_free(queue, SOON * self._max_ring_wait_ns)
                if not soon and channel.expected_ns > PATIENCE * self._max_ring_wait_ns:
                    continue
                if slots > 0 or self._may_queue_up(pump):
                    free += soon
            else:
                free += max(slots, 0)
            room += slots
            actors += 1
        if not actors:
            return 0, 0
        slots_asked, jobs_asked = self._asked_beside(pump, shared=shared)
        ahead = pump.service_times.ahead(actors, int(self._max_ring_wait_ns * self._ring_share(pump)))
        slots = max(free - slots_asked, 0)
        return slots, max(room + ahead - jobs_asked - slots, 0)

    def _ring_share(self, pump: QueuePump) -> float:
        """How much of the wait in a ring the queue may fill: all of it, beside a heavier one that is busy a part."""
        heaviest = weight = pump.settings.weight
        for name in next(
            (c.concurrency for c in self.channels if c.is_sync and pump.queue in c.concurrency), ()
        ):
            other = self._pump_of(name)
            if other is not None and other.busy:
                heaviest = max(heaviest, other.settings.weight)
        return weight / heaviest

    def _asked_beside(self, pump: QueuePump, *, shared: bool) -> tuple[int, int]:
        """Slots, and jobs in all, for which calls in flight have asked, or which a full ring has refused."""
        refused = sum(1 for lease in self._waiting if not lease.suspect and (shared or lease.pump is pump))
        asked = [
            wishes
            for other, wishes in self._reserved.items()
            if other is pump or (shared and self.share_slots(pump, other))
        ]
        slots = sum(slots for slots, _ in asked)
        return refused + slots, refused + slots + sum(ahead for _, ahead in asked)

    def share_slots(self, one: QueuePump, other: QueuePump) -> bool:
        """Whether a sync actor serves both queues: it has one slot for all of them."""
        return any(
            channel.is_sync and one.queue in channel.concurrency and other.queue in channel.concurrency
            for channel in self.channels
        )

    def reserve(self, pump: QueuePump, slots: int, ahead: int) -> None:
        """Other queues of the same actors must not ask for the slots that a call in flight already asks for."""
        self._reserved[pump] = (slots, ahead)

    def unreserve(self, pump: QueuePump) -> None:
        """The call is answered."""
        if self._reserved.pop(pump, None) is not None:
            self._on_freed()

    def dispatch(self, pump: QueuePump, leases: Sequence[Lease]) -> None:
        """Give each lease to the actor that will be free first; hold those that no actor can take now."""
        queue = pump.queue
        # Ties go to the lowest index, so that a quiet cell keeps using the same warm processes.
        open_channels = [(c.busyness(queue), c.index, c) for c in self._serving(queue) if c.alone_for is None]
        heapify(open_channels)
        for lease in leases:
            if lease.suspect or not open_channels:
                self._waiting.append(lease)
                continue
            _, index, channel = open_channels[0]
            if self._try_push(channel, lease):
                heapreplace(open_channels, (channel.busyness(queue), index, channel))
            else:
                self._waiting.append(lease)
        self.place_waiting()
        wake_touched(self.channels)

    def _serving(self, queue: str) -> list[ActorChannel]:
        return [channel for channel in self.channels if queue in channel.concurrency and channel.accepts]

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
            channel.try_reply(RecordKind.ABORT, lease.seq, b"", bytes((int(reason),)))
            channel.bell.ring()

    def end(self, lease: Lease) -> None:
        """End the process of a plain function; have a coroutine cancelled by its own loop."""
        end_by_force(lease)

    def is_alive(self, lease: Lease) -> bool:
        """Extend leases only for processes that can still finish their job."""
        channel = lease.holder
        if not isinstance(channel, ActorChannel):
            return True
        return not self._is_process_stopped(channel.slot.pid)

    # -- placing --------------------------------------------------------------------------------------------

    def place_waiting(self) -> None:
        """Try again what could not be placed; give back what has nobody to wait for."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, deque()
        for lease in waiting:
            if self._in_flight.get(lease.seq) is lease and not self._try_place(lease):
                self._waiting.append(lease)
        self._keep_an_actor_free()
        wake_touched(self.channels)

    def _try_place(self, lease: Lease) -> bool:
        """True when there is nothing more to do for the lease."""
        queue = lease.pump.queue
        able = self._serving(queue)
        if not able or self._is_unwanted(lease):
            self._give_back(lease)
            return True
        if lease.suspect:
            able = [channel for channel in able if not channel.leases and channel.alone_for in (None, lease)]
        else:
            able = [channel for channel in able if channel.alone_for is None]
        able.sort(key=lambda channel: channel.busyness(queue))
        return any(self._try_push(channel, lease) for channel in able)

    def _keep_an_actor_free(self) -> None:
        """Give nothing more to one actor, for the first suspect that waits; busy ones would never be free for it."""
        suspect = next((lease for lease in self._waiting if lease.suspect), None)
        for channel in self.channels:
            kept_for = channel.alone_for
            if kept_for is not None and kept_for.seq not in channel.leases and kept_for is not suspect:
                channel.alone_for = None  # it was placed elsewhere, or is gone
        if suspect is None or any(channel.alone_for is suspect for channel in self.channels):
            return
        queue = suspect.pump.queue
        able = [channel for channel in self._serving(queue) if channel.alone_for is None]
        if able:
            chosen = min(able, key=lambda channel: channel.busyness(queue))
            chosen.alone_for = suspect
            self.take_back_unstarted(chosen)

    @staticmethod
    def _is_unwanted(lease: Lease) -> bool:
        """True when the server, or another host, is to decide what becomes of a job that has not started."""
        return bool(lease.abort_reason) or not lease.pump.intake_open

    def _give_back(self, lease: Lease) -> None:
        if self._in_flight.take(lease.seq) is not None:
            lease.pump.give_back(lease)

    def requeue(self, lease: Lease) -> None:
        """Place a lease again whose actor died or was too slow to start it; same activation, new number."""
        # One that was taken over from an earlier gateway has no payload here.
        if not lease.blob or self._is_unwanted(lease):
            self._give_back(lease)
        elif self._in_flight.take(lease.seq) is not None:
            lease.seq = self._in_flight.next_seq()
            lease.holder = None
            self._in_flight.add(lease)
            self.dispatch(lease.pump, (lease,))

    def give_back_waiting(self) -> None:
        """On drain: what could not be placed returns to the server."""
        while self._waiting:
            self._give_back(self._waiting.popleft())
        self._keep_an_actor_free()

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
                channel.give_up(error)
                break
            for record, position in records:
                freed = self.receive(channel, record, position) or freed
            if len(records) < RECORDS_PER_READ:
                break
        if freed:
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
                pump.complete(
                    record.body, lease, receipt, service_ns_of(record.header), tokens_of(record.header)
                )
            else:
                pump.fail(record.body, lease, receipt, tokens_of(record.header))
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
        if kind == RecordKind.BATCH:
            channel.note_batch(unpack_sequences(record.body))
        elif kind == RecordKind.MANIFEST:
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

    def recall(self, pump: QueuePump) -> None:
        """Give back one queue's jobs that have not started: its pump lets none of them be placed again."""
        for channel in self.channels:
            if channel.load.get(pump.queue):
                self._take_back(channel, monotonic_ns() + 1, blame=False, pump=pump)
        self.place_waiting()

    def _take_back(
        self, channel: ActorChannel, overdue_ns: int, *, blame: bool, pump: QueuePump | None = None
    ) -> None:
        """pump: of this queue alone.

        blame: nothing is fetched ahead behind jobs with the running ones' names until they are relearned.
        """
        states = channel.side.ledger.states()
        overdue = [
            lease.seq
            for lease in channel.leases.values()
            if lease.dispatched_ns + (lease.pump.settings.gather_ns if blame else 0) < overdue_ns
            and states.get(lease.seq) != LedgerState.STARTED
            and pump in (None, lease.pump)
        ]
        if not overdue:
            return
        if blame:
            for seq, state in states.items():
                running = channel.leases.get(seq)
                if running is not None and state == LedgerState.STARTED:
                    running.pump.service_times.distrust(running.name)
                    channel.expect(running, UNKNOWN_NS)
        for seq in channel.side.take_back(overdue):
            lease = channel.take(seq)
            if lease is not None:
                self._after_take_back(lease)

    def _after_take_back(self, lease: Lease) -> None:
        queue = lease.pump.queue
        if any(c.alone_for is None and c.free_slots(queue) > 0 for c in self._serving(queue)):
            self.requeue(lease)
        else:
            self._give_back(lease)
