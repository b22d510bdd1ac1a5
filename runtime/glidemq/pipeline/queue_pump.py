"""The pump of one queue: asks the server for as many jobs as can start, and reports what became of them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from glidemq.clock import monotonic_ns
from glidemq.commands.command import unpack
from glidemq.commands.fail import FailCommand
from glidemq.commands.keys import QueueKeys
from glidemq.commands.recover_orphans import RecoverOrphansCommand
from glidemq.commands.release import ReleaseCommand
from glidemq.commands.step import StepCommand, StepResult
from glidemq.connection.connection import Connection
from glidemq.errors import ConnectionError, ServerError
from glidemq.pipeline.completer import MAX_BYTES_PER_CALL, Completer, Outcome, Return
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.link import WorkLink
from glidemq.pipeline.window import ServiceTimes

log = logging.getLogger("glidemq.pipeline")

# A completion-only call beside an activating one pays off from this many rows on.
COMPLETIONS_WORTH_A_CALL = 16
# Fewer jobs than this are not fetched ahead by a call of their own: they wait for one that carries outcomes too.
AHEAD_WORTH_A_CALL = 8
RETRY_FIRST_S = 0.05
RETRY_LAST_S = 1.0
ORPHANS_PER_CALL = 500


class PumpObserver(Protocol):
    """Told about what the server has decided; must not block and must not raise."""

    def settled(self, outcome: Outcome, code: int) -> None:
        """The server answered `code` for this outcome."""
        ...

    def released(self, lease: Lease, code: int) -> None:
        """The server answered `code` for a job that was given back."""
        ...

    def troubled(self, queue: str, error: Exception) -> None:
        """A call failed and will be repeated."""
        ...


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What a pump must know about its queue."""

    queue: str
    prefix: str = "glide"
    lock_ms: int = 30_000
    timeout_ms: int = 0  # for jobs without one of their own; 0 means none
    max_crashes: int = 3
    events: bool = True
    metrics: bool = True

    @property
    def keys(self) -> QueueKeys:
        """The queue's key names."""
        return QueueKeys(self.prefix, self.queue)


class QueuePump:
    """Moves one queue's jobs between the server and a work link.

    Owns: the one activating call and the one completion-only call in flight, and the queue's outbox.
    Written by: the work link (outcomes), reader and promoter (wake-ups). Stops when closed and its outbox is empty.
    """

    def __init__(
        self,
        settings: QueueSettings,
        *,
        consumer: str,
        connection: Connection,
        in_flight: InFlight,
        link: WorkLink,
        observer: PumpObserver,
        restore_leases: Callable[[], Awaitable[None]],
        connection_lost: Callable[[], None],
        drained: Callable[[QueuePump], None],
    ) -> None:
        self.settings = settings
        self.queue = settings.queue
        self.keys = settings.keys
        self.service_times = ServiceTimes()
        self.outbox = Completer()
        self.paused = False
        self.next_due_ms = -1
        self.last_step_ns = 0
        self.consumer = consumer
        self._connection = connection
        self._in_flight = in_flight
        self._link = link
        self._observer = observer
        self._restore_leases = restore_leases
        self._connection_lost = connection_lost
        self._drained = drained
        # Tokens must differ between gateways of one consumer, hence the random part.
        self._runs = (f"{secrets.token_hex(6)}-{n}" for n in itertools.count(1))
        self._claimed: deque[tuple[bytes, bytes]] = deque()
        self._rung: deque[bytes] = deque()
        self._flush = False  # outcomes are to be reported now
        self._oldest_completion_ns = 0
        self._ready = True  # the server may have work that can start
        self._intake_open = True
        self._unsure = True  # the server may have granted leases that we never heard of
        self._on_the_wire: list[list[Outcome]] = []  # batches whose call is being repeated or awaited
        self._kick_scheduled = False
        self._stepping: asyncio.Task[None] | None = None
        self._completing: asyncio.Task[None] | None = None
        self._reporting: asyncio.Task[None] | None = None
        self._due_timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    # -- called by the work link -----------------------------------------------------------------------------------

    def complete(self, row: bytes, lease: Lease | None, receipt: Any, service_ns: int = 0) -> None:
        """Queue a completion; it rides with the next call, or with the one that `flush` asks for."""
        if lease is not None:
            self.service_times.record(lease.name, service_ns)
        if not self.outbox.completions:
            self._oldest_completion_ns = monotonic_ns()
        self.outbox.completions.append(Outcome(row, lease, receipt))

    def fail(self, row: bytes, lease: Lease | None, receipt: Any) -> None:
        """Queue a failure; the server decides between a retry and the end."""
        self.outbox.failures.append(Outcome(row, lease, receipt))
        self.kick()

    def give_back(self, lease: Lease, crash_reason: str | bool | None = None) -> None:
        """Return a job whose lease we hold to the queue: unstarted, or crashed with its process."""
        self.outbox.returns.append(Return(lease, crash_reason))
        self.kick()

    # -- called by reader, promoter, cell ----------------------------------------------------------------------------

    def claim(self, entry_id: bytes, job_id: bytes) -> None:
        """Take up a stream entry that the blocking read delivered to this consumer."""
        self._claimed.append((entry_id, job_id))
        self.kick()

    def rung(self, entry_id: bytes) -> None:
        """Somebody rang this queue's bell: there is list work, or an earlier due time."""
        self._rung.append(entry_id)
        self.poll()

    def poll(self) -> None:
        """Ask the server again, whether or not it said that there was nothing."""
        self._ready = True
        self.kick()

    def recheck_orphans(self) -> None:
        """Before the next activation, have the server release what it thinks we hold and we do not."""
        self._unsure = True

    def close_intake(self) -> None:
        """Activate nothing any more; outcomes still go out."""
        self._intake_open = False

    @property
    def hungry(self) -> bool:
        """True when there is work on the server, for all we know, and a free slot is all that is missing."""
        return self._intake_open and self._stepping is None and (self._ready or bool(self._claimed))

    @property
    def wants_reader(self) -> bool:
        """True when only a blocking read can tell that there is work: drained, unpaused, with a free slot."""
        return (
            self._intake_open
            and not self._ready
            and not self.paused
            and self._stepping is None
            and not self._claimed
            and self._link.wants(self)[0] > 0
        )

    @property
    def settled(self) -> bool:
        """True when no call is in flight and the outbox is empty."""
        return self.outbox.empty and not (self._stepping or self._completing or self._reporting)

    def flush(self) -> None:
        """Report what is finished in this turn of the loop, however little it is."""
        self._flush = True
        self.kick()

    def flush_overdue(self, longest_ns: int) -> None:
        """Report what has waited for company for longer than this."""
        if self.outbox.completions and monotonic_ns() - self._oldest_completion_ns > longest_ns:
            self.flush()

    def kick(self) -> None:
        """Consider, once in this turn of the loop, which calls to make."""
        if not self._kick_scheduled:
            self._kick_scheduled = True
            self._loop.call_soon(self._advance)

    # -- deciding ------------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        self._link.collect()
        self._kick_scheduled = False
        outbox = self.outbox
        if (outbox.failures or outbox.returns) and self._reporting is None:
            self._reporting = self._loop.create_task(self._report())
        flush = self._flush or len(outbox.completions) >= COMPLETIONS_WORTH_A_CALL
        if self._stepping is None and self._intake_open and (self._ready or self._claimed):
            slots, ahead = self._link.wants(self)
            if slots > 0 or self._claimed or ahead >= (1 if flush else AHEAD_WORTH_A_CALL):
                self._flush = False
                self._stepping = self._loop.create_task(self._step(slots, ahead))
                return
        if outbox.completions and flush and self._completing is None:
            if self._stepping is None or len(outbox.completions) >= COMPLETIONS_WORTH_A_CALL:
                self._flush = False
                self._completing = self._loop.create_task(self._complete_only())

    # -- calling -------------------------------------------------------------------------------------------------------

    async def _step(self, slots: int, ahead: int) -> None:
        self._link.reserve(self, slots + ahead)
        batch: list[Outcome] = []
        try:
            await self._restore_leases()
            if self._unsure:
                await self._release_orphans()
            batch = self.outbox.take_completions()
            claimed, rung = list(self._claimed), list(self._rung)
            self._claimed.clear()
            self._rung.clear()
            # Wishes noted from here on concern the time after this call.
            self._ready = False
            result = await self._execute_step(batch, slots, ahead, claimed, rung)
        except (ConnectionError, ServerError) as error:
            # The call may have been executed: outcomes are repeated under their tokens, activations are recovered.
            self.outbox.completions.extendleft(reversed(batch))
            self._ready = self._unsure = True
            await self._after_trouble(error)
        else:
            self._settle(batch, result.outcomes)
            self._dispatch(result)
            granted = len(result.activations)
            self._ready = self._ready or result.more or (granted > 0 and granted >= slots + ahead)
        finally:
            self._link.reserve(self, -(slots + ahead))
            self._stepping = None
            self.kick()
        if not self._ready:
            self._drained(self)

    async def _execute_step(
        self,
        batch: list[Outcome],
        slots: int,
        ahead: int,
        claimed: list[tuple[bytes, bytes]],
        rung: list[bytes],
    ) -> StepResult:
        self.last_step_ns = monotonic_ns()
        settings = self.settings
        return await self._connection.execute(
            StepCommand(
                self.keys.meta,
                consumer=self.consumer,
                cell=self.consumer,
                run=next(self._runs),
                complete=[outcome.row for outcome in batch],
                slots=slots,
                ahead=ahead,
                claimed=claimed,
                rung=rung,
                events=settings.events,
                metrics=settings.metrics,
                max_bytes=MAX_BYTES_PER_CALL,
            )
        )

    async def _complete_only(self) -> None:
        batch = self.outbox.take_completions()

        async def deliver() -> None:
            result = await self._execute_step(batch, 0, 0, [], [])
            self._settle(batch, result.outcomes)

        self._on_the_wire.append(batch)
        try:
            await self._until_delivered(deliver)
        finally:
            self._on_the_wire.remove(batch)
            self._completing = None
            self.kick()

    async def _report(self) -> None:
        try:
            while self.outbox.failures:
                await self._report_failures(self.outbox.take_failures())
            while self.outbox.returns:
                await self._report_returns(self.outbox.take_returns())
        finally:
            self._reporting = None
            self.poll()

    async def _report_failures(self, batch: list[Outcome]) -> None:
        settings = self.settings
        command = FailCommand(
            self.keys.meta,
            consumer=self.consumer,
            rows=[outcome.row for outcome in batch],
            events=settings.events,
            metrics=settings.metrics,
        )

        async def deliver() -> None:
            result = await self._connection.execute(command)
            self._settle(batch, [code for code, _ in result.outcomes])
            self._arm_due_timer(result.next_due_ms, result.now_ms)

        self._on_the_wire.append(batch)
        try:
            await self._until_delivered(deliver)
        finally:
            self._on_the_wire.remove(batch)

    async def _report_returns(self, batch: list[Return]) -> None:
        settings = self.settings
        command = ReleaseCommand(
            self.keys.meta,
            consumer=self.consumer,
            cell=self.consumer,
            rows=[
                (lease.id, lease.token, lease.processed_on, lease.entry_id, crash_reason)
                for lease, crash_reason in batch
            ],
            max_crashes=settings.max_crashes,
            tail=False,
            events=settings.events,
            metrics=settings.metrics,
        )

        async def deliver() -> None:
            codes = await self._connection.execute(command)
            for (lease, _), code in zip(batch, codes, strict=True):
                self._in_flight.take(lease.seq)
                self._observer.released(lease, code)

        await self._until_delivered(deliver)

    async def _release_orphans(self) -> None:
        """Have the server give back what is ours in its books and absent from ours (feasibility 2)."""
        # Entries that the reader delivered are still waiting on the server: they come back with the orphans.
        self._claimed.clear()
        cursor = ""
        while True:
            result = await self._connection.execute(
                RecoverOrphansCommand(
                    self.keys.meta,
                    consumer=self.consumer,
                    cell=self.consumer,
                    known=self._known(),
                    cursor=cursor,
                    limit=ORPHANS_PER_CALL,
                )
            )
            if result.released:
                log.info(
                    "queue %r: gave back %d jobs whose start was in doubt", self.queue, len(result.released)
                )
                self._ready = True
            cursor = result.next_cursor
            if not cursor:
                break
        self._unsure = False

    def _known(self) -> list[tuple[bytes, bytes]]:
        known = [(lease.id, lease.token) for lease in self._in_flight.of(self)]
        for outcome in itertools.chain(self.outbox.completions, self.outbox.failures, *self._on_the_wire):
            if outcome.lease is None:
                job_id, token, *_ = unpack(outcome.row)
                known.append((job_id, token))
            else:
                known.append((outcome.lease.id, outcome.lease.token))
        known.extend((back.lease.id, back.lease.token) for back in self.outbox.returns)
        return known

    async def _until_delivered(self, deliver: Callable[[], Awaitable[None]]) -> None:
        """Repeat an idempotent call until the server has answered it, then return."""
        delay_s = RETRY_FIRST_S
        while True:
            try:
                await self._restore_leases()
                await deliver()
            except (ConnectionError, ServerError) as error:
                self._unsure = True
                await self._after_trouble(error, delay_s)
                delay_s = min(2 * delay_s, RETRY_LAST_S)
            else:
                return

    async def _after_trouble(self, error: Exception, delay_s: float = RETRY_FIRST_S) -> None:
        self._observer.troubled(self.queue, error)
        self._connection_lost()
        await asyncio.sleep(delay_s)

    # -- digesting replies -----------------------------------------------------------------------------------------------

    def _settle(self, batch: list[Outcome], codes: list[int]) -> None:
        for outcome, code in zip(batch, codes, strict=True):
            self._observer.settled(outcome, code)
            self._link.settled(outcome.receipt)

    def _dispatch(self, result: StepResult) -> None:
        in_flight = self._in_flight
        now_ns = monotonic_ns()
        leases: list[Lease] = []
        for activation in result.activations:
            lease = Lease(in_flight.next_seq(), self, activation)
            lease.next_beat_ns = now_ns + lease.beat_interval_ns
            in_flight.add(lease)
            leases.append(lease)
        if self._intake_open:
            self._link.dispatch(self, leases)
        else:
            for lease in leases:
                self.give_back(lease)
        self.paused = result.paused
        self._arm_due_timer(result.next_due_ms, result.now_ms)

    def _arm_due_timer(self, next_due_ms: int, server_now_ms: int) -> None:
        """Ask again when the next delayed job falls due. The server's clock decides, so only its difference counts."""
        self.next_due_ms = next_due_ms
        if self._due_timer is not None:
            self._due_timer.cancel()
            self._due_timer = None
        if next_due_ms >= 0 and self._intake_open:
            delay_s = max(next_due_ms - server_now_ms, 0) / 1000
            if delay_s < 60:  # later ones are found by the promoter's polls
                self._due_timer = self._loop.call_later(delay_s + 0.001, self.poll)

    async def close(self) -> None:
        """Stop asking and wait until every outcome is delivered."""
        self.close_intake()
        if self._due_timer is not None:
            self._due_timer.cancel()
        while not self.settled:
            tasks = [task for task in (self._stepping, self._completing, self._reporting) if task]
            if tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            else:
                self.flush()
                await asyncio.sleep(0)

    async def abandon(self) -> None:
        """Stop at once; what the server was not told is recovered by whoever comes next."""
        self.close_intake()
        if self._due_timer is not None:
            self._due_timer.cancel()
        tasks = [task for task in (self._stepping, self._completing, self._reporting) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
