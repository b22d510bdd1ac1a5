"""The pump of one queue: asks the server for as many jobs as can start, and reports what became of them."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import deque
from typing import Any, TypeAlias

from glidemq.clock import monotonic_ns
from glidemq.commands.fail import FailureRow
from glidemq.commands.step import CONSTRAINED, StepCommand, StepResult
from glidemq.pipeline.completer import MAX_BYTES_PER_CALL, Completer, Outcome, Return
from glidemq.pipeline.delivery import Delivery
from glidemq.pipeline.due_timer import DueTimer
from glidemq.pipeline.hold import Hold
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.orphans import known_activations, release_orphans
from glidemq.pipeline.pump_context import PumpContext, QueueSettings
from glidemq.pipeline.reporter import Reporter
from glidemq.pipeline.window import ServiceTimes

# A completion-only call beside an activating one pays off from this many rows on.
COMPLETIONS_WORTH_A_CALL = 16
# Fewer jobs than this are not fetched ahead by a call of their own: they wait for one that carries outcomes too.
AHEAD_WORTH_A_CALL = 8
# A call without an answer keeps slots that queues share from the others for no longer than this. Should it be granted
# jobs later all the same, those that find no slot wait, and are given back.
LONGEST_RESERVATION_S = 0.5

Claim: TypeAlias = tuple[bytes, bytes]  # an entry's id and its job's


class QueuePump:
    """Moves one queue's jobs between the server and a work link.

    Owns: the one activating call and the one completion-only call in flight, and the queue's outbox.
    Written by: the work link (outcomes), reader and promoter (wake-ups). Stops when closed and its outbox is empty.
    """

    def __init__(self, settings: QueueSettings, context: PumpContext) -> None:
        self.settings = settings
        self.queue = settings.queue
        self.queue_bytes = settings.queue.encode()
        self.keys = settings.keys
        self.service_times = ServiceTimes()
        self.outbox = Completer()
        self.paused = False
        self.gate = context.gate_of(self)
        self.last_step_ns = 0
        self._context = context
        self._link = context.link
        self._delivery = Delivery(settings.queue, context)
        self._due_timer = DueTimer(self.poll)
        self._reporter = Reporter(
            lambda: self.settings,
            context,
            self.outbox,
            self._delivery,
            settle=self._settle,
            due=self._due_timer.arm,
            posted=self._note_posted,
            idle=self.poll,
        )
        # Tokens must differ between gateways of one consumer, hence the random part.
        self._runs = (f"{secrets.token_hex(6)}-{n}" for n in itertools.count(1))
        self._claimed: deque[Claim] = deque()
        self._rung: deque[bytes] = deque()
        self._flush = False  # outcomes are to be reported now
        self._oldest_completion_ns = 0
        self._ready = True  # the server may have work that can start
        self._held_back = False  # the gate was closed when it was asked last, and will say when it opens
        self._blocked = False  # a limit keeps what is there from starting: a read would only bring more of it
        self._intake_open = True
        self._hold = Hold(self._after_hold)
        self._abandoned = False
        self._completions_on_the_wire: list[Outcome] = []
        self._kick_scheduled = False
        self._stepping: asyncio.Task[None] | None = None
        self._completing: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def go_by(self, settings: QueueSettings) -> None:
        """Take new settings: another version of the app may bring them."""
        limits, self.settings = self.settings.limits, settings
        if settings.limits != limits:
            self.gate.close()
            self.gate = self._context.gate_of(self)

    # -- called by the work link ----------------------------------------------------------------------------

    def complete(
        self, row: bytes, lease: Lease | None, receipt: Any, service_ns: int = 0, tokens: int = -1
    ) -> None:
        """Queue a completion; it rides with the next call, or with the one that `flush` asks for.

        tokens: what the processor said that the job has used; -1 if it did not.
        """
        if lease is not None:
            self.service_times.record(lease.name, service_ns)
            self._context.turns.correct(self, lease, service_ns)
            self.gate.ended(lease, tokens, succeeded=True)
        if not self.outbox.completions:
            self._oldest_completion_ns = monotonic_ns()
        if self._blocked or (lease is not None and lease.flags & CONSTRAINED):
            self._ready = True  # what this job kept from starting may start with the call that reports it
        self.outbox.completions.append(Outcome(row, lease, receipt))

    def fail(self, row: bytes, lease: Lease | None, receipt: Any, tokens: int = -1) -> None:
        """Queue a failure; the server decides between a retry and the end. The queue rests if the job is put off."""
        if lease is not None:
            self.gate.ended(lease, tokens, succeeded=False)
        self.outbox.failures.append(Outcome(row, lease, receipt))
        pause_ms = FailureRow.pause_ms(row)
        if pause_ms:  # whatever the job calls wants to be left alone
            self.hold(pause_ms)
        self.kick()

    def give_back(self, lease: Lease, crash_reason: str | bool | None = None) -> None:
        """Return a job whose lease we hold to the queue: unstarted, or ended with its process."""
        self._context.turns.correct(self, lease, 0)
        self.gate.ended(lease, -1, succeeded=False)
        self.outbox.returns.append(Return(lease, crash_reason))
        self.kick()

    # -- called by reader, promoter, cell -------------------------------------------------------------------

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
        self._delivery.unsure = True

    @property
    def intake_open(self) -> bool:
        """False while nothing is to be activated, nor started that was activated before."""
        return self._intake_open and not self._hold.lasts

    def close_intake(self) -> None:
        """Activate nothing any more; outcomes still go out."""
        self._intake_open = False

    def open_intake(self) -> None:
        """Activate again after `close_intake`."""
        self._intake_open = True
        self.poll()

    def hold(self, pause_ms: int) -> None:
        """Start nothing for so long, and give back what has not started. One that lasts longer already stays."""
        if self._hold.extend(pause_ms):
            self._link.recall(self)
            self._context.rests(self)

    def _after_hold(self) -> None:
        self.poll()
        self._context.rests(self)

    @property
    def hungry(self) -> bool:
        """True when there is work on the server, for all we know, and a free slot is all that is missing."""
        return self.busy and self._stepping is None

    @property
    def busy(self) -> bool:
        """True while the server has work for this queue, for all we know."""
        may_start = self.intake_open and not self._held_back
        return may_start and (self._ready or bool(self._claimed) or self._stepping is not None)

    @property
    def wants_reader(self) -> bool:
        """True when only a blocking read can tell that there is work: drained, unpaused, with a free slot."""
        return (
            self.intake_open
            and not self._ready
            and not self.paused
            and not self._blocked
            and not self._held_back
            and self._stepping is None
            and not self._claimed
            and self._link.wants(self)[0] > 0
        )

    @property
    def settled(self) -> bool:
        """True when no call is in flight, the outbox is empty, and nothing that was claimed is in our hands."""
        return self.outbox.empty and not self._claimed and not self._tasks

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

    # -- deciding -------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        if self._abandoned:
            return
        try:
            self._link.collect()
        finally:
            self._kick_scheduled = False
        self._reporter.start()
        finished = len(self.outbox.completions)
        flush = self._flush or finished >= COMPLETIONS_WORTH_A_CALL
        if self._stepping is None and (self._claimed or (self.intake_open and self._ready)):
            # Entries that the reader claimed as the intake was being closed go back by a step that starts nothing.
            slots, ahead = self._link.wants(self) if self.intake_open else (0, 0)
            wanted = slots = slots if slots > 0 and self._context.turns.may_ask(self) else 0
            slots, ahead = self.gate.admit(slots, ahead)
            held_back, self._held_back = self._held_back, wanted > slots == 0
            if self._held_back and not held_back:  # another queue may have stood back for this one
                self._context.rests(self)
            if slots > 0 or self._claimed or ahead >= (1 if flush else AHEAD_WORTH_A_CALL):
                self._flush = False
                self._link.reserve(self, slots, ahead)
                self._stepping = self._loop.create_task(self._step(slots, ahead))
                return
        worth_a_call = self._stepping is None or finished >= COMPLETIONS_WORTH_A_CALL
        if finished and flush and worth_a_call and self._completing is None:
            self._flush = False
            self._completing = self._loop.create_task(self._complete_only())

    # -- calling --------------------------------------------------------------------------------------------

    async def _step(self, slots: int, ahead: int) -> None:
        give_up_slots = self._loop.call_later(LONGEST_RESERVATION_S, self._link.unreserve, self)
        self.last_step_ns = monotonic_ns()
        batch: list[Outcome] = []
        try:
            await self._context.restore_leases()
            if self._delivery.unsure:
                await self._release_orphans()
            batch = self.outbox.take_completions()
            claimed, self._claimed = list(self._claimed), deque()
            rung, self._rung = list(self._rung), deque()
            # Wishes noted from here on concern the time after this call; so does a doubt that has arisen by now.
            self._ready = self._delivery.unsure
            result = await self._execute_step(batch, slots, ahead, claimed, rung)
        except Exception as error:
            self.gate.lost()
            # The call may have been executed: outcomes are repeated under their tokens, activations are recovered.
            self.outbox.completions.extendleft(reversed(batch))
            self._ready = self._flush = True
            await self._delivery.trouble(error)
        else:
            self._delivery.answered()
            self._settle(batch, result.outcomes)
            self._note_posted(result.posted)
            for refused in result.refused:
                self._context.observer.refused(refused)
            self._dispatch(result)
            granted = len(result.activations)
            # What a limit kept back may start with the report of a job that has ended during this call.
            unblocks = result.blocked and bool(self.outbox.completions)
            self._ready = self._ready or result.more or unblocks or (granted > 0 and granted >= slots + ahead)
        finally:
            give_up_slots.cancel()
            self._link.unreserve(self)
            self._stepping = None
            self.kick()
        if not self._ready:
            self._context.drained(self)

    async def _execute_step(
        self, batch: list[Outcome], slots: int, ahead: int, claimed: list[Claim], rung: list[bytes]
    ) -> StepResult:
        settings = self.settings
        return await self._context.connection.execute(
            StepCommand(
                self.keys.meta,
                consumer=self._context.consumer,
                cell=self._context.consumer,
                run=next(self._runs),
                complete=[outcome.row for outcome in batch],
                slots=slots,
                ahead=ahead,
                claimed=claimed,
                rung=rung,
                limiter=settings.limiter,
                tokens=self.gate.draw(slots + ahead),
                estimate=settings.estimate,
                events=settings.events,
                metrics=settings.metrics,
                max_bytes=MAX_BYTES_PER_CALL,
            )
        )

    async def _complete_only(self) -> None:
        batch = self._completions_on_the_wire = self.outbox.take_completions()
        try:
            result = await self._delivery.until_answered(lambda: self._execute_step(batch, 0, 0, [], []))
            self._settle(batch, result.outcomes)
            self._note_posted(result.posted)
        finally:
            self._completions_on_the_wire = []
            self._completing = None
            self.kick()

    async def _release_orphans(self) -> None:
        # Entries that the reader delivered are still waiting on the server: they come back with the orphans.
        self._claimed.clear()
        self._delivery.unsure = False  # before the call: doubts that arise meanwhile are not dispelled by it
        outbox, reporter = self.outbox, self._reporter
        known = known_activations(
            self._context.in_flight.of(self),
            [*outbox.returns, *reporter.returns_on_the_wire],
            [*outbox.completions, *outbox.failures],
            [*self._completions_on_the_wire, *reporter.failures_on_the_wire],
        )
        if await release_orphans(self.settings, self._context, known):
            self._ready = True

    # -- digesting replies ----------------------------------------------------------------------------------

    def _settle(self, batch: list[Outcome], codes: list[int]) -> None:
        for outcome, code in zip(batch, codes, strict=True):
            self._context.observer.settled(outcome, code)
            self._link.settled(outcome.receipt)

    def _note_posted(self, posted: bool) -> None:
        if posted:
            self._context.posted(self)

    def _dispatch(self, result: StepResult) -> None:
        in_flight = self._context.in_flight
        now_ns = monotonic_ns()
        leases: list[Lease] = []
        for activation in result.activations:
            lease = Lease(in_flight.next_seq(), self, activation)
            lease.next_beat_ns = now_ns + lease.beat_interval_ns
            self._context.turns.charge(self, lease)
            in_flight.add(lease)
            leases.append(lease)
        self.gate.dealt(leases, result.tokens)
        if self.intake_open:
            self._link.dispatch(self, leases)
        else:
            for lease in leases:
                self.gate.returned(lease)
                self.give_back(lease)
        self.paused = result.paused
        self._blocked = result.blocked
        self._due_timer.arm(result.next_due_ms, result.now_ms)

    # -- ending ---------------------------------------------------------------------------------------------

    @property
    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for task in (self._stepping, self._completing, self._reporter.task) if task is not None]

    async def close(self) -> None:
        """Stop asking and wait until every outcome is delivered."""
        self._stop_asking()
        while not self.settled:
            self.flush()
            await asyncio.sleep(0)
            if self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def abandon(self) -> None:
        """Stop at once; what the server was not told is recovered by whoever comes next."""
        self._stop_asking()
        self._abandoned = True
        tasks = self._tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop_asking(self) -> None:
        self.close_intake()
        self._hold.end()
        self.gate.close()
        self._due_timer.close()
