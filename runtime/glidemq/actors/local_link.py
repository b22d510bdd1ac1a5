"""The work link inside one process: processors run as tasks of the loop, or on threads."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from glidemq.clock import monotonic_ns
from glidemq.commands.release import ENDED_ON_PURPOSE
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.outcome import JobOutcome
from glidemq.pipeline.queue_pump import QueuePump
from glidemq.rings.cancel_board import CancelReason

log = logging.getLogger("glidemq.worker")


class LocalExecution(Protocol):
    """Runs one job of one queue in this process."""

    @property
    def concurrency(self) -> int:
        """How many jobs may run at once; it may change at any time."""
        ...

    async def run_local(self, lease: Lease) -> JobOutcome:
        """Run the job to its end; never raises."""
        ...

    def abort(self, lease: Lease, reason: CancelReason) -> None:
        """Set the running job's abort signal."""
        ...

    def end(self, lease: Lease) -> None:
        """End the running job by force, as far as that can be done."""
        ...

    def hurry(self) -> None:
        """No other job will come: nobody is to be waited for."""
        ...


class LocalLink:
    """Runs leases in this process, `concurrency` at a time per queue; a few more wait to hide the round trip.

    Owns: the tasks of the running jobs, and the leases that wait for a slot. `on_freed` is called whenever a slot has
    become free.
    """

    def __init__(self, in_flight: InFlight, *, max_wait_ns: int) -> None:
        self._in_flight = in_flight
        self._max_wait_ns = max_wait_ns
        self._executions: dict[str, LocalExecution] = {}
        self._running: dict[int, asyncio.Task[JobOutcome]] = {}
        self._active: dict[str, int] = {}
        self._waiting: dict[str, deque[Lease]] = {}
        self._reserved: dict[str, int] = {}
        self._overdue_timer: asyncio.TimerHandle | None = None
        self.on_freed: Callable[[], None] = lambda: None

    def serve(self, queue: str, execution: LocalExecution) -> None:
        """Run the jobs of `queue` with `execution`."""
        self._executions[queue] = execution
        self._active[queue] = 0
        self._waiting[queue] = deque()

    @property
    def running(self) -> Mapping[int, asyncio.Task[JobOutcome]]:
        """Tasks of the running jobs, by lease number."""
        return self._running

    # -- WorkLink -------------------------------------------------------------------------------------------

    def wants(self, pump: QueuePump) -> tuple[int, int]:
        """Free slots, and how many jobs may wait behind the running ones."""
        queue = pump.queue
        concurrency = self._executions[queue].concurrency
        held = self._active[queue] + len(self._waiting[queue]) + self._reserved.get(queue, 0)
        ahead = pump.service_times.ahead(concurrency, self._max_wait_ns)
        slots = max(concurrency - held, 0)
        return slots, max(concurrency + ahead - held - slots, 0)

    def collect(self) -> None:
        """Nothing lies anywhere: outcomes go to the pump as they come."""

    def reserve(self, pump: QueuePump, slots: int, ahead: int) -> None:
        """Count what a call in flight asks for."""
        self._reserved[pump.queue] = slots + ahead

    def unreserve(self, pump: QueuePump) -> None:
        """The call is answered."""
        self._reserved.pop(pump.queue, None)

    def share_slots(self, one: QueuePump, other: QueuePump) -> bool:
        """Each queue has slots of its own."""
        return False

    def dispatch(self, pump: QueuePump, leases: Sequence[Lease]) -> None:
        """Start the jobs, or let them wait for a slot."""
        queue = pump.queue
        concurrency = self._executions[queue].concurrency
        now_ns = monotonic_ns()
        for lease in leases:
            lease.dispatched_ns = now_ns
            if self._active[queue] < concurrency:
                self._start(lease)
            else:
                self._waiting[queue].append(lease)
        if self._waiting[queue] and self._overdue_timer is None:
            self._arm_overdue_timer()

    def settled(self, receipt: Any) -> None:
        """Nothing to acknowledge: an outcome lives in the pump's outbox until it is settled."""

    def abort(self, lease: Lease, reason: CancelReason) -> None:
        """Set the job's abort signal; one that has not started goes back, for the server to decide."""
        lease.abort_reason = reason
        if lease in self._waiting[lease.pump.queue]:
            self._waiting[lease.pump.queue].remove(lease)
            if self._in_flight.take(lease.seq) is not None:
                lease.pump.give_back(lease)
            return
        self._executions[lease.pump.queue].abort(lease, reason)

    def end(self, lease: Lease) -> None:
        """Cancel the job's coroutine, or give its thread up."""
        log.warning(
            "job %s of %r was revoked and has not stopped: its run is ended",
            lease.id.decode(errors="replace"),
            lease.pump.queue,
        )
        self._executions[lease.pump.queue].end(lease)

    def is_alive(self, lease: Lease) -> bool:
        """The process that would extend the lease is the one that runs the job."""
        return True

    # -- running --------------------------------------------------------------------------------------------

    def _start(self, lease: Lease) -> None:
        queue = lease.pump.queue
        self._active[queue] += 1
        started_ns = monotonic_ns()
        task = asyncio.get_running_loop().create_task(self._executions[queue].run_local(lease))
        self._running[lease.seq] = task
        # Not in a coroutine around it: one that is cancelled before its first step never sees its `finally`.
        task.add_done_callback(lambda task: self._ended(lease, started_ns, task))

    def _ended(self, lease: Lease, started_ns: int, task: asyncio.Task[JobOutcome]) -> None:
        pump = lease.pump
        del self._running[lease.seq]
        self._active[pump.queue] -= 1
        if self._in_flight.take(lease.seq) is not None:
            if task.cancelled():  # a forced close
                pump.give_back(lease, ENDED_ON_PURPOSE)
            else:
                outcome = task.result()
                if outcome.succeeded:
                    pump.complete(outcome.row, lease, None, monotonic_ns() - started_ns, outcome.tokens)
                else:
                    pump.fail(outcome.row, lease, None, outcome.tokens)
        self.slots_freed(pump.queue)
        pump.flush()

    def slots_freed(self, queue: str) -> None:
        """Start what waits for the slots that have become free; what is left of them is for the reader to fill."""
        waiting = self._waiting[queue]
        while waiting and self._active[queue] < self._executions[queue].concurrency:
            self._start(waiting.popleft())
        self.on_freed()

    # -- taking back ----------------------------------------------------------------------------------------

    def _arm_overdue_timer(self) -> None:
        self._overdue_timer = asyncio.get_running_loop().call_later(
            self._max_wait_ns / 1e9, self._take_back_overdue
        )

    def _take_back_overdue(self) -> None:
        """Give back what waits behind jobs that take longer than we thought, so that another host may run it."""
        self._overdue_timer = None
        overdue_ns = monotonic_ns() - self._max_wait_ns
        for waiting in self._waiting.values():
            while waiting and waiting[-1].dispatched_ns < overdue_ns:
                lease = waiting.pop()
                lease.pump.service_times.distrust(lease.name)
                if self._in_flight.take(lease.seq) is not None:
                    lease.pump.give_back(lease)
        if any(self._waiting.values()):
            self._arm_overdue_timer()

    def give_back_waiting(self) -> None:
        """On drain: return everything that has not started, and let what waits for company start without."""
        for execution in self._executions.values():
            execution.hurry()
        for waiting in self._waiting.values():
            self._give_back(waiting)

    def recall(self, pump: QueuePump) -> None:
        """Return one queue's jobs that have not started."""
        self._give_back(self._waiting[pump.queue])

    def _give_back(self, waiting: deque[Lease]) -> None:
        while waiting:
            lease = waiting.popleft()
            if self._in_flight.take(lease.seq) is not None:
                lease.pump.give_back(lease)

    def cancel_running(self) -> None:
        """On a forced close: end what runs; threads cannot be ended, their outcome is discarded."""
        for seq, task in list(self._running.items()):
            lease = self._in_flight.get(seq)
            if lease is not None:
                self.abort(lease, CancelReason.TAKE_BACK)
            task.cancel()
