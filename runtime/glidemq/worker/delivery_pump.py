"""Moves a subscription's messages between the server and the processor of a broadcast worker."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import secrets
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import orjson

from glidemq.actors.local_link import LocalExecution
from glidemq.clock import monotonic_s, wall_ms
from glidemq.commands.extend_deliveries import ExtendDeliveriesCommand
from glidemq.commands.fail import PUT_OFF, RETRYING, FailureRow
from glidemq.commands.finish_deliveries import FinishDeliveriesCommand, FinishedDeliveries
from glidemq.commands.promote_due import PromoteDueCommand
from glidemq.commands.step import ACCEPTED, Activation
from glidemq.commands.subscribe import SubscribeCommand
from glidemq.commands.take_deliveries import TakeDeliveriesCommand
from glidemq.commands.unsubscribe import UnsubscribeCommand
from glidemq.connection import ReaderConnection, UnblockingConnection
from glidemq.connection.reader_connection import StreamEntry
from glidemq.errors import GlideMQError, GroupMissingError
from glidemq.options.subjects import SubjectMatcher
from glidemq.pipeline.completer import Outcome
from glidemq.pipeline.hold import Hold
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.outcome import JobOutcome
from glidemq.rings.cancel_board import CancelReason
from glidemq.worker.subscription_settings import SubscriptionSettings
from glidemq.worker.worker_events import WorkerEvents

if TYPE_CHECKING:
    from glidemq.pipeline.queue_pump import QueuePump

log = logging.getLogger("glidemq.worker")

ROWS_PER_CALL = 100
PROMOTED_PER_CALL = 1000
FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 1.0


class DeliveryPump:
    """Reads, starts, reports, and keeps alive the messages of one worker.

    Owns: its tasks, what runs, and the outcomes that the server has not accepted yet. Stops when: `close` is called.
    """

    def __init__(
        self,
        settings: SubscriptionSettings,
        *,
        commands: UnblockingConnection,
        reader: ReaderConnection,
        execution: LocalExecution,
        events: WorkerEvents,
        matches: SubjectMatcher | None,
    ) -> None:
        self.settings = settings.queue  # what a lease asks its pump for
        self.queue = settings.queue.queue
        self._settings = settings
        self._keys = settings.queue.keys
        self._commands = commands
        self._reader = reader
        self._execution = execution
        self._events = events
        self._matches = matches
        self._running: dict[int, tuple[Lease, asyncio.Task[None]]] = {}
        # Claimed, and not started: the broadcast or this worker is paused or rests, or a limit is reached.
        self._held: list[bytes] = []
        self._look_again_at_s = 0.0
        self._outbox: deque[tuple[JobOutcome, Lease]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._sequence = itertools.count(1)
        self._runs = (f"{secrets.token_hex(6)}-{number}" for number in itertools.count(1))
        self._taking = asyncio.Lock()
        self._changed = asyncio.Event()  # a slot is free, or the pause or the rest has ended
        self._hold = Hold(self.wake)  # what the processor calls wants to be left alone
        self._due = asyncio.Event()  # something was scheduled
        self._left: list[tuple[bytes | bool, bytes]] = []
        self._no_recovery_before_s = 0.0
        self._identity = {"addr": socket.gethostname(), "pid": os.getpid(), "startedAt": wall_ms()}
        self.paused = False
        self._closing = False

    # -- life -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Subscribe and begin. Raises ConnectionError, and ValidationError for a `start_from` that is none."""
        await self._announce()
        for name, loop in (
            ("receive", self._receive()),
            ("beat", self._every(self._settings.beat_s, self._extend)),
            ("announce", self._every(max(self._settings.stalled_interval_s / 2, 0.5), self._announce)),
            ("recover", self._every(self._recovery_interval_s, self._recover)),
            ("promote", self._promote()),
        ):
            self._tasks.append(asyncio.create_task(loop, name=f"glidemq-{name}-{self.queue}"))

    @property
    def _recovery_interval_s(self) -> float:
        return min(self._settings.stalled_interval_s, self._settings.queue.lock_ms / 2000)

    @property
    def idle(self) -> bool:
        """True when nothing runs and the server knows everything."""
        return not self._running and not self._outbox and self._sender is None

    async def close(self, *, deliver_for_s: float) -> None:
        """Receive no more, wait for what runs, report it, leave."""
        self._closing = True
        self._changed.set()
        await self._reader.unblock(self._commands)
        await self.wait_until_idle()
        self._hold.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        left = [*self._left, *((False, entry_id) for entry_id in self._held)]
        with contextlib.suppress(GlideMQError, TimeoutError):
            async with asyncio.timeout(deliver_for_s):
                await self._commands.execute(
                    UnsubscribeCommand(
                        self._keys.meta,
                        consumer=self._settings.consumer,
                        subscription=self._settings.subscription,
                        left=left,
                    )
                )

    async def wait_until_idle(self) -> None:
        """Return when nothing runs and the server knows everything."""
        while not self.idle:
            tasks = {task for _, task in self._running.values()}
            if self._sender is not None:
                tasks.add(self._sender)
            await asyncio.wait(tasks)

    def cancel_running(self) -> None:
        """On a forced close: what runs ends now, and is delivered again to another worker."""
        for lease, task in list(self._running.values()):
            self._execution.abort(lease, CancelReason.TAKE_BACK)
            task.cancel()

    def abort(self, job_id: bytes) -> bool:
        """Set the abort signal of a message in hand; False if there is none with this id."""
        for lease, _ in self._running.values():
            if lease.id == job_id:
                self._execution.abort(lease, CancelReason.ABORT)
                return True
        return False

    async def pause(self) -> None:
        """Start nothing more until `resume`."""
        self.paused = True
        await self._reader.unblock(self._commands)

    def resume(self) -> None:
        """Start messages again."""
        self.paused = False
        self.wake()

    def wake(self) -> None:
        """A slot may have become free."""
        self._changed.set()

    async def _every(self, seconds: float, act: Any) -> None:
        while True:
            try:
                await act()
            except GlideMQError as error:
                self._troubled(error)
            await asyncio.sleep(seconds)

    def _troubled(self, error: Exception) -> None:
        # An outage ages everybody's deliveries: nobody is judged until all had the time for a heartbeat.
        self._no_recovery_before_s = monotonic_s() + 2 * self._settings.beat_s
        self._events.troubled(self.queue, error)

    # -- receiving ------------------------------------------------------------------------------------------

    @property
    def _may_start(self) -> bool:
        return not self.paused and not self._hold.lasts

    @property
    def _free(self) -> int:
        return self._execution.concurrency - len(self._running)

    async def _receive(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._closing:
            try:
                await self._receive_once()
                wait_s = FIRST_WAIT_S
            except GroupMissingError:  # the broadcast was obliterated, or the server lost it
                with contextlib.suppress(GlideMQError):
                    await self._announce()
            except Exception as error:  # a defect of ours included: the worker goes on
                self._troubled(error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _receive_once(self) -> None:
        settings = self._settings
        if self._free <= 0 or not self._may_start:
            self._changed.clear()
            await self._changed.wait()
            return
        if self._held:
            await asyncio.sleep(max(self._look_again_at_s - monotonic_s(), 0))
            held, self._held = self._held[: self._free], self._held[self._free :]
            await self._take(held)
            return
        entries = await self._reader.read_group(
            settings.consumer,
            [self._keys.stream],
            block_ms=max(int(settings.block_s * 1000), 1),
            count=self._free,
            group=settings.subscription,
        )
        wanted = [entry.entry_id for entry in entries if self._is_wanted(entry)]
        skipped = [entry.entry_id for entry in entries if not self._is_wanted(entry)]
        if self._closing or not self._may_start:
            self._held += wanted
            wanted = []
        if wanted or skipped:
            await self._take(wanted, skipped)

    def _is_wanted(self, entry: StreamEntry) -> bool:
        """False for another subscription's retry, and for a subject that nobody here has asked for."""
        fields = entry.fields
        if fields.get(b"retryGroup", b"").decode(errors="replace") not in ("", self._settings.subscription):
            return False
        return self._matches is None or self._matches(fields.get(b"name", b"").decode(errors="replace"))

    async def _take(
        self, claimed: list[bytes], skipped: list[bytes] | None = None, *, stale_ms: int = 0
    ) -> None:
        settings = self._settings
        async with self._taking:
            in_hand = [lease.entry_id for lease, _ in self._running.values()]
            in_hand += [lease.entry_id for _, lease in self._outbox]
            command = TakeDeliveriesCommand(
                self._keys.meta,
                consumer=settings.consumer,
                subscription=settings.subscription,
                run=next(self._runs),
                claimed=claimed,
                skipped=skipped or [],
                in_hand=[*in_hand, *self._held],
                stale_ms=stale_ms,
                max_stalled=settings.max_stalled_count,
                limit=max(self._free, 0),
                events=settings.queue.events,
                metrics=settings.queue.metrics,
            )
            try:
                taken = await self._commands.execute(command)
            except BaseException:
                self._held = claimed + self._held  # started or not: a second start replaces the first
                raise
            self._held = taken.held + self._held
            self._look_again_at_s = monotonic_s() + (
                settings.promotion_interval_s
                if taken.look_again_ms < 0
                else max(taken.look_again_ms - taken.now_ms, 1) / 1000
            )
            for activation in taken.activations:
                self._start(activation)
        for job_id, what in taken.recovered:
            self._events.stalled(self.queue, job_id, what)

    # -- running --------------------------------------------------------------------------------------------

    def _start(self, activation: Activation) -> None:
        # Of its pump a lease wants the queue's name and settings, which this one has.
        lease = Lease(next(self._sequence), cast("QueuePump", self), activation)
        task = asyncio.create_task(self._run(lease), name=f"glidemq-run-{self.queue}")
        self._running[lease.seq] = (lease, task)
        task.add_done_callback(lambda task: self._ended(lease, task))

    async def _run(self, lease: Lease) -> None:
        outcome = await self._execution.run_local(lease)
        pause_ms = 0 if outcome.succeeded else FailureRow.pause_ms(outcome.row)
        if pause_ms:
            self._hold.extend(pause_ms)
        self._outbox.append((outcome, lease))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send(), name=f"glidemq-report-{self.queue}")

    def _ended(self, lease: Lease, task: asyncio.Task[None]) -> None:
        del self._running[lease.seq]
        if task.cancelled():  # a forced close
            self._left.append((lease.id, lease.entry_id))
        self._changed.set()

    async def _send(self) -> None:
        try:
            while self._outbox:
                batch = [self._outbox[index] for index in range(min(len(self._outbox), ROWS_PER_CALL))]
                reply = await self._until_answered(batch)
                for _ in batch:
                    self._outbox.popleft()
                completed = iter(reply.completed)
                failed = iter(code for code, _ in reply.failed)
                for outcome, lease in batch:
                    code = next(completed if outcome.succeeded else failed)
                    self._events.settled(Outcome(outcome.row, lease, None), code)
                    if code in (RETRYING, PUT_OFF):
                        self._due.set()
        finally:
            self._sender = None

    async def _until_answered(self, batch: list[tuple[JobOutcome, Lease]]) -> FinishedDeliveries:
        """Each outcome counts once, by its token: it may be sent as often as it takes."""
        command = FinishDeliveriesCommand(
            self._keys.meta,
            subscription=self._settings.subscription,
            completed=[outcome.row for outcome, _ in batch if outcome.succeeded],
            failed=[outcome.row for outcome, _ in batch if not outcome.succeeded],
            events=self._settings.queue.events,
            metrics=self._settings.queue.metrics,
        )
        wait_s = FIRST_WAIT_S
        while True:
            try:
                return await self._commands.execute(command)
            except GlideMQError as error:
                self._troubled(error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    # -- looking after --------------------------------------------------------------------------------------

    async def _announce(self) -> None:
        settings = self._settings
        await self._commands.execute(
            SubscribeCommand(
                self._keys.meta,
                consumer=settings.consumer,
                subscription=settings.subscription,
                start_from=settings.start_from,
                info_json=orjson.dumps({**self._identity, "activeJobs": len(self._running)}),
                ttl_ms=int(settings.stalled_interval_s * 1000),
            )
        )

    async def _extend(self) -> None:
        leases = [lease for lease, _ in self._running.values()]
        for first in range(0, len(leases), ROWS_PER_CALL):
            batch = leases[first : first + ROWS_PER_CALL]
            codes = await self._commands.execute(
                ExtendDeliveriesCommand(
                    self._keys.meta,
                    consumer=self._settings.consumer,
                    subscription=self._settings.subscription,
                    rows=[(lease.id, lease.token, lease.entry_id) for lease in batch],
                )
            )
            for lease, code in zip(batch, codes, strict=True):
                if code != ACCEPTED and lease.seq in self._running:
                    self._execution.abort(lease, CancelReason.ABORT)

    async def _recover(self) -> None:
        if self._may_start and not self._closing and monotonic_s() >= self._no_recovery_before_s:
            await self._take([], stale_ms=self._settings.queue.lock_ms)

    async def _promote(self) -> None:
        """Retries and delayed messages become entries when they fall due; any worker of any subscription sees to it."""
        interval_s = self._settings.promotion_interval_s
        while True:
            wait_s = interval_s
            self._due.clear()
            try:
                promotion = await self._commands.execute(
                    PromoteDueCommand(self._keys.meta, limit=PROMOTED_PER_CALL, prioritized_limit=0)
                )
                if promotion.next_due_ms >= 0:
                    wait_s = min(max(promotion.next_due_ms - wall_ms(), 1) / 1000, interval_s)
            except GlideMQError as error:
                self._troubled(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._due.wait()
