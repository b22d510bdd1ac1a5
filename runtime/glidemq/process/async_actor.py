"""An actor process for `async def` processors: many jobs at once on one uvloop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import uvloop

from glidemq.clock import monotonic_ns
from glidemq.connection.ambient import provide_connection
from glidemq.pipeline.batch_execution import AsyncBatchExecution
from glidemq.pipeline.execution import Activated, AsyncExecution, LoopAbortFlag
from glidemq.pipeline.gathering import Gathering
from glidemq.pipeline.outcome import JobOutcome
from glidemq.process.actor_context import ActorContext
from glidemq.process.messages import END, outcome_header
from glidemq.process.ring_connection import RingConnection
from glidemq.process_spec import EXIT_OK
from glidemq.processor import Processor
from glidemq.rings.actor_side import TakenActivation
from glidemq.rings.cancel_board import CancelReason
from glidemq.rings.records import JobIdentity, RecordKind, pack_sequences
from glidemq.shared_memory.status_slot import ProcessState

RECORDS_PER_READ = 64
FULL_RING_RETRY_S = 0.01
# Coroutines that nobody waits for get so long to end with the process.
LEAVE_S = 0.5


class _Report(NamedTuple):
    """The end of one job, on its way to the gateway."""

    kind: RecordKind
    activation: TakenActivation
    header: bytes
    body: bytes


_Taken: TypeAlias = tuple[TakenActivation, JobIdentity]


class _Lane:
    """One queue's jobs in this process: at most `concurrency` run, those fetched ahead wait their turn."""

    __slots__ = ("execution", "free", "waiting")

    def __init__(self, execution: AsyncExecution, concurrency: int) -> None:
        self.execution = execution
        self.free = concurrency
        self.waiting: deque[_Taken] = deque()


class _BatchLane:
    """One queue's jobs in this process, for a processor that takes several at once."""

    __slots__ = ("execution", "gathering", "timer")

    def __init__(self, execution: AsyncBatchExecution, gathering: Gathering[_Taken]) -> None:
        self.execution = execution
        self.gathering = gathering
        self.timer: asyncio.TimerHandle | None = None  # for a batch that does not become full


class AsyncActor:
    """The loop of an async actor process.

    Owns: the tasks of the running jobs, and their slots in the ledger. Stops when: it is told to drain or stop, and
    nothing runs or waits in its hands and its activation ring is empty.
    """

    def __init__(self, context: ActorContext) -> None:
        self._context = context
        self._slot = context.slot
        self._side = context.side
        self._loop = asyncio.get_running_loop()
        self._connection = RingConnection(context, self._wake_soon)
        provide_connection(self._connection)
        self._lanes: dict[bytes, _Lane] = {}
        self._batch_lanes: dict[bytes, _BatchLane] = {}
        for name, processor in context.processors.items():
            self._open_lane(name, processor)
        self._flags: dict[int, LoopAbortFlag] = {}
        self._unreported: deque[_Report] = deque()
        self._retrying = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake_scheduled = False
        self._finished = asyncio.Event()
        self._done = 0
        self._failed = 0

    def _open_lane(self, name: str, processor: Processor[Any, Any]) -> None:
        context = self._context
        key = context.queue_key(name)
        grace_s = context.spec.config.kill_grace
        rule = processor.batch
        if rule is None:
            execution = AsyncExecution(processor, name, key, self._connection, kill_grace_s=grace_s)
            self._lanes[name.encode()] = _Lane(execution, processor.concurrency)
        else:
            rule = rule._replace(size=min(rule.size, self._side.ledger.slots))
            batches = AsyncBatchExecution(processor, name, key, self._connection, kill_grace_s=grace_s)
            self._batch_lanes[name.encode()] = _BatchLane(batches, Gathering(rule, processor.concurrency))

    async def run(self) -> int:
        """Serve until told to go; the exit status."""
        context = self._context
        bell_fd = context.bell.fileno()
        self._loop.add_reader(bell_fd, self._on_bell)
        beat = self._loop.create_task(self._beat())
        context.announce_ready()
        self._on_bell()
        finished = self._loop.create_task(self._finished.wait())
        await asyncio.wait({beat, finished}, return_when=asyncio.FIRST_COMPLETED)
        if beat.done():  # the rings are damaged, or we are: the jobs run again elsewhere
            beat.result()
        beat.cancel()
        self._loop.remove_reader(bell_fd)
        self._wake_now()
        context.change_state(ProcessState.DRAINED)
        return EXIT_OK

    async def _beat(self) -> None:
        """The loop that runs the jobs says that it turns; also the bound for a lost wake-up."""
        while True:
            self._slot.beat_ns = monotonic_ns()
            self._slot.set_note(f"{len(self._flags)} jobs")
            self._on_bell()
            await asyncio.sleep(self._context.spec.config.beat)

    # -- receiving ------------------------------------------------------------------------------------------

    def _on_bell(self) -> None:
        bell = self._context.bell
        side = self._side
        bell.drain()
        while True:
            self._read_replies()
            self._read_activations()
            bell.prepare_sleep()
            if side.replies.is_empty() and (side.activations.is_empty() or not side.ledger.free_slots()):
                break
            bell.cancel_sleep()
        if self._context.told_to_go:
            for batches in self._batch_lanes.values():
                self._start_batches(batches)
        idle = not self._tasks and not self._unreported and side.activations.is_empty()
        if idle and self._context.told_to_go:
            self._finished.set()

    def _read_replies(self) -> None:
        for record in self._side.replies.pop_many(RECORDS_PER_READ):
            if record.kind == RecordKind.ABORT:
                flag = self._flags.get(record.seq)
                if flag is not None and record.body == END:
                    flag.end()
                elif flag is not None:
                    flag.set(CancelReason(record.body[0]))
            else:
                self._connection.receive(record)

    def _read_activations(self) -> None:
        side = self._side
        while taken := side.take_activations(RECORDS_PER_READ):
            for activation in taken:
                identity = JobIdentity.unpack(activation.record.header)
                lane = self._lanes.get(identity.queue)
                if identity.queue in self._batch_lanes:
                    self._batch_lanes[identity.queue].gathering.add((activation, identity))
                elif lane is None:
                    # The gateway goes by another version of the app: it will not send such jobs again.
                    side.start(activation)
                    self._skip(activation)
                else:
                    lane.waiting.append((activation, identity))
                    self._start_waiting(lane)
        for batches in self._batch_lanes.values():  # only now: whatever is there starts together
            self._start_batches(batches)

    def _start_waiting(self, lane: _Lane) -> None:
        """Start what there is room for; what waits is merely taken, so that the gateway can still take it back."""
        while lane.free and lane.waiting:
            activation, identity = lane.waiting.popleft()
            if self._side.start(activation):
                self._skip(activation)
                continue
            lane.free -= 1
            # Before the task's first step: an abort may come until then.
            flag = self._flags[activation.record.seq] = LoopAbortFlag()
            task = flag.task = self._loop.create_task(self._process(activation, identity, lane, flag))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _start_batches(self, lane: _BatchLane) -> None:
        """Start the batches that are full, or have waited long enough."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        while batch := lane.gathering.next_batch(hurry=self._context.told_to_go):
            started: list[_Taken] = []
            for taken in batch:
                if self._side.start(taken[0]):
                    self._skip(taken[0])
                else:
                    started.append(taken)
            if not started:
                lane.gathering.free_lanes += 1
                continue
            sequences = [activation.record.seq for activation, _ in started]
            # News, not an outcome: without them the gateway asks for jobs that then have to wait.
            self._side.outbound.try_push(RecordKind.BATCH, sequences[0], b"", pack_sequences(sequences))
            flags = [LoopAbortFlag() for _ in sequences]
            self._flags.update(zip(sequences, flags, strict=True))
            task = self._loop.create_task(self._process_batch(started, flags, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        due_s = lane.gathering.due_s()
        if due_s is not None:
            lane.timer = self._loop.call_later(due_s, self._start_batches, lane)

    def _skip(self, activation: TakenActivation) -> None:
        self._report(_Report(RecordKind.SKIPPED, activation, b"", b""))

    # -- running --------------------------------------------------------------------------------------------

    async def _process(
        self, activation: TakenActivation, identity: JobIdentity, lane: _Lane, flag: LoopAbortFlag
    ) -> None:
        record = activation.record
        started_ns = self._note_start(record.seq)
        outcome = await lane.execution.run(record.body, flag, urgent=identity.flags != 0)
        self._note_end(activation, identity, outcome, monotonic_ns() - started_ns)
        lane.free += 1
        self._start_waiting(lane)

    async def _process_batch(
        self, batch: Sequence[_Taken], flags: Sequence[LoopAbortFlag], lane: _BatchLane
    ) -> None:
        started_ns = self._note_start(batch[0][0].record.seq)
        outcomes = await lane.execution.run(
            [
                Activated(activation.record.body, flag, identity.flags != 0)
                for (activation, identity), flag in zip(batch, flags, strict=True)
            ]
        )
        # Each job's share, which tells how many more may wait.
        service_ns = (monotonic_ns() - started_ns) // len(batch)
        for (activation, identity), outcome in zip(batch, outcomes, strict=True):
            self._note_end(activation, identity, outcome, service_ns)
        lane.gathering.free_lanes += 1
        self._start_batches(lane)

    def _note_start(self, seq: int) -> int:
        status = self._slot
        status.current_seq = seq
        status.job_started_ns = started_ns = monotonic_ns()
        status.held = len(self._flags)
        return started_ns

    def _note_end(
        self, activation: TakenActivation, identity: JobIdentity, outcome: JobOutcome, service_ns: int
    ) -> None:
        status = self._slot
        kind = RecordKind.COMPLETION if outcome.succeeded else RecordKind.FAILURE
        self._report(
            _Report(kind, activation, outcome_header(service_ns, identity.queue, outcome.tokens), outcome.row)
        )
        del self._flags[activation.record.seq]
        self._done += 1
        status.jobs_done = self._done
        if not outcome.succeeded:
            self._failed += 1
            status.jobs_failed = self._failed
        status.held = len(self._flags)
        if not self._flags:
            status.current_seq = 0

    def _report(self, report: _Report) -> None:
        self._unreported.append(report)
        if not self._retrying:
            self._push_reports()

    def _push_reports(self) -> None:
        """Push what has ended, in its order, and forget those jobs.

        There may be no room, as the gateway is behind or the server away. The loop goes on turning then; what waits is
        bounded by the ledger, which takes no more jobs than it has slots.
        """
        self._retrying = False
        while self._unreported:
            kind, activation, header, body = self._unreported[0]
            if not self._side.outbound.try_push(kind, activation.record.seq, header, body):
                self._context.gateway_bell.ring_always()
                self._retrying = True
                self._loop.call_later(FULL_RING_RETRY_S, self._push_reports)
                return
            self._unreported.popleft()
            self._side.finish(activation)
        self._wake_soon()

    # -- waking the gateway ---------------------------------------------------------------------------------

    def _wake_soon(self) -> None:
        """Ring once for everything that this turn of the loop finishes."""
        if not self._wake_scheduled:
            self._wake_scheduled = True
            self._loop.call_soon(self._wake_now)

    def _wake_now(self) -> None:
        self._wake_scheduled = False
        self._context.gateway_bell.ring()
        if not self._side.activations.is_empty() or self._context.told_to_go:
            self._loop.call_soon(self._on_bell)


def run(context: ActorContext) -> int:
    """Run an async actor on a uvloop of its own."""

    async def main() -> int:
        return await AsyncActor(context).run()

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    status = loop.run_until_complete(main())
    # Not uvloop.run, which waits for ever for a coroutine that ignores its cancellation.
    left_behind = asyncio.all_tasks(loop)
    for task in left_behind:
        task.cancel()
    if left_behind:
        loop.run_until_complete(asyncio.wait(left_behind, timeout=LEAVE_S))
    return status
