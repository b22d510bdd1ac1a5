"""An actor process for plain `def` processors: one job at a time, on the main thread, with no event loop at all."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from typing import Any, TypeVar

from glidemq.clock import monotonic_ns
from glidemq.commands.command import Command, unpack
from glidemq.connection.ambient import provide_connection
from glidemq.errors import ClosedError
from glidemq.options import BatchRule
from glidemq.pipeline.batch_execution import SyncBatchExecution
from glidemq.pipeline.execution import Activated, Overrun, SyncExecution
from glidemq.pipeline.gathering import Gathering
from glidemq.pipeline.outcome import JobOutcome
from glidemq.process.actor_context import ActorContext
from glidemq.process.messages import command_header, outcome_header, read_error_header
from glidemq.process.ring_connection import BlockingRingConnection
from glidemq.process.wake_policy import WakePolicy
from glidemq.process_spec import EXIT_OK, SOFT_TIMEOUT_SIGNAL
from glidemq.rings.actor_side import TakenActivation
from glidemq.rings.cancel_board import CancelReason
from glidemq.rings.records import JobIdentity, RecordKind, pack_sequences
from glidemq.shared_memory.status_slot import ProcessState

R = TypeVar("R")

IDLE_WAIT_S = 1.0  # a bound for what the bell's reasoning does not cover
FULL_RING_WAIT_S = 0.005
# The status table is for people: jobs shorter than this are over before they are read about.
WORTH_A_NOTE_NS = 1_000_000


class RingAbortFlag:
    """A running job's abort signal: one word in shared memory, written by the gateway."""

    __slots__ = ("_board", "_seq")

    def __init__(self, board: Any, seq: int) -> None:
        self._board = board
        self._seq = seq

    def reason(self) -> int:
        """Why the job should stop; 0 while it should not, though it was asked back too late for that."""
        reason: int = self._board.reason_for(self._seq)
        return reason if reason != CancelReason.TAKE_BACK else 0


class SyncActor:
    """The loop of a sync actor process.

    Order of its stores (feasibility 6): ledger TAKEN, activation head, STARTED, user code, completion record, FREE.
    Owns: the actor side of the rings. Stops when: it is told to drain or stop and its activation ring is empty.
    """

    def __init__(self, context: ActorContext) -> None:
        self._context = context
        self._slot = context.slot
        self._side = context.side
        self._policy = WakePolicy()
        self._thread = threading.get_ident()
        self._running_seq = 0
        self._overrun_seq = 0  # the job that is to be stopped
        self._in_call = False  # its processor waits for a reply of the gateway
        self._noted = False  # the status page names a job
        self._done = 0
        self._failed = 0
        self._executions: dict[bytes, SyncExecution] = {}
        self._batches: dict[bytes, tuple[SyncBatchExecution, BatchRule]] = {}
        for name, processor in context.processors.items():
            key, rule = context.queue_key(name), processor.batch
            if rule is None:
                self._executions[name.encode()] = SyncExecution(processor, name, key, self.execute)
            else:
                rule = rule._replace(size=min(rule.size, self._side.ledger.slots))
                batches = SyncBatchExecution(processor, name, key, self.execute)
                self._batches[name.encode()] = (batches, rule)

    def run(self) -> int:
        """Serve until told to go; the exit status."""
        context = self._context
        signal.signal(SOFT_TIMEOUT_SIGNAL, self._on_soft_timeout)
        provide_connection(BlockingRingConnection(self.call))
        context.announce_ready()
        side = self._side
        while True:
            taken = side.take_activations(1)
            if taken:
                following: TakenActivation | None = taken[0]
                while following is not None:
                    following = self._process(following)
                continue
            self._wake_gateway()
            if context.told_to_go:
                break
            self._sleep()
        context.change_state(ProcessState.DRAINED)
        return EXIT_OK

    def _sleep(self, longest_s: float = IDLE_WAIT_S) -> None:
        bell = self._context.bell
        self._slot.beat_ns = monotonic_ns()
        bell.prepare_sleep()
        if self._side.activations.is_empty() and not self._context.told_to_go:
            bell.wait(longest_s)
        else:
            bell.cancel_sleep()

    def _process(self, activation: TakenActivation) -> TakenActivation | None:
        """Run the job, or a batch that begins with it; returns one of another queue that was taken meanwhile."""
        side = self._side
        slot = self._slot
        record = activation.record
        seq = record.seq
        identity = JobIdentity.unpack(record.header)
        if identity.queue in self._batches:
            return self._process_batches(activation, identity.queue)
        execution = self._executions.get(identity.queue)
        # Without one the gateway goes by another version of the app: it will not send such jobs again.
        if side.start(activation) or execution is None:
            self._push(RecordKind.SKIPPED, seq, b"", b"")
            side.finish(activation)
            return None
        started_ns = monotonic_ns()
        slot.job_started_ns = slot.beat_ns = started_ns
        slot.held = 1
        if not 0 < self._policy.mean_ns < WORTH_A_NOTE_NS:
            job_id, queue = identity.job_id.decode(errors="replace"), identity.queue.decode(errors="replace")
            slot.set_note(f"job {job_id} of {queue!r}")
            self._noted = True
        elif self._noted:  # rather nothing than the name of a job that has long ended
            slot.set_note("")
            self._noted = False
        outcome: JobOutcome | None = None
        try:
            # Ours first: the gateway sends its signal only once, and never before it sees the word.
            self._running_seq = seq
            slot.current_seq = seq
            outcome = execution.run(record.body, RingAbortFlag(side.cancels, seq), urgent=identity.flags != 0)
            self._running_seq = 0
        except (
            Overrun
        ):  # it came on the way out of the processor: too late to stop it, too early to be ignored
            outcome = outcome or execution.overran(record.body)
        now_ns = monotonic_ns()
        service_ns = now_ns - started_ns
        # Its time is measured no longer: room for the outcome may have to be waited for, as long as the server is away.
        slot.current_seq = 0
        if self._report(activation, identity, outcome, now_ns, service_ns):
            self._wake_gateway()
        return None

    def _report(
        self,
        activation: TakenActivation,
        identity: JobIdentity,
        outcome: JobOutcome,
        now_ns: int,
        service_ns: int,
    ) -> bool:
        """Push the outcome and forget the job; whether the gateway should be woken for it."""
        side = self._side
        slot = self._slot
        record = activation.record
        kind = RecordKind.COMPLETION if outcome.succeeded else RecordKind.FAILURE
        self._push(kind, record.seq, outcome_header(service_ns, identity.queue, outcome.tokens), outcome.row)
        slot.held = 0
        side.finish(activation)
        self._done += 1
        slot.jobs_done = self._done
        if not outcome.succeeded:
            self._failed += 1
            slot.jobs_failed = self._failed
        return self._policy.finished(
            now_ns,
            service_ns,
            urgent=outcome.urgent,
            waiting_bytes=side.activations.unread_bytes(),
            record_bytes=len(record.header) + len(record.body) + 24,
        )

    # -- batches --------------------------------------------------------------------------------------------

    def _process_batches(self, first: TakenActivation, queue: bytes) -> TakenActivation | None:
        """Gather jobs beside the first one, and run them together. Returns one of another queue, if that came first."""
        execution, rule = self._batches[queue]
        gathering: Gathering[TakenActivation] = Gathering(rule, lanes=1)
        gathering.add(first)
        following: TakenActivation | None = None
        while True:
            taken = self._side.take_activations(1) if len(gathering) < rule.size else []
            if taken and JobIdentity.unpack(taken[0].record.header).queue == queue:
                gathering.add(taken[0])
                continue
            following = taken[0] if taken else None
            # Nobody waits for company while there is other work to do.
            batch = gathering.next_batch(hurry=following is not None or self._context.told_to_go)
            if batch:
                self._run_batch(execution, batch)
                return following
            self._wake_gateway()
            self._sleep(min(gathering.due_s() or 0, IDLE_WAIT_S))

    def _run_batch(self, execution: SyncBatchExecution, batch: Sequence[TakenActivation]) -> None:
        side = self._side
        slot = self._slot
        started: list[TakenActivation] = []
        for activation in batch:
            if side.start(activation):
                self._push(RecordKind.SKIPPED, activation.record.seq, b"", b"")
                side.finish(activation)
            else:
                started.append(activation)
        if not started:
            return
        sequences = [activation.record.seq for activation in started]
        self._push(RecordKind.BATCH, sequences[0], b"", pack_sequences(sequences))
        identities = [JobIdentity.unpack(activation.record.header) for activation in started]
        runs = [
            Activated(activation.record.body, RingAbortFlag(side.cancels, seq), identity.flags != 0)
            for activation, identity, seq in zip(started, identities, sequences, strict=True)
        ]
        seq = sequences[execution.most_impatient(runs)]
        started_ns = monotonic_ns()
        slot.job_started_ns = slot.beat_ns = started_ns
        slot.held = len(started)
        slot.set_note(f"{len(started)} jobs of {identities[0].queue.decode(errors='replace')!r}")
        self._noted = True
        outcomes: list[JobOutcome] | None = None
        try:
            self._running_seq = seq
            slot.current_seq = seq
            outcomes = execution.run(runs)
            self._running_seq = 0
        except Overrun:
            outcomes = outcomes or execution.overran(runs)
        now_ns = monotonic_ns()
        slot.current_seq = 0
        service_ns = (now_ns - started_ns) // len(started)  # each job's share, which tells how many may wait
        wakes = False
        for activation, identity, outcome in zip(started, identities, outcomes, strict=True):
            wakes = self._report(activation, identity, outcome, now_ns, service_ns) or wakes
        if wakes:
            self._wake_gateway()

    def _wake_gateway(self) -> None:
        if self._policy.held:
            self._policy.woken(monotonic_ns())
        self._context.gateway_bell.ring()

    def _push(self, kind: RecordKind, seq: int, header: bytes, body: bytes) -> None:
        outbound = self._side.outbound
        while not outbound.try_push(kind, seq, header, body):
            # Back-pressure: the gateway is behind, or away.
            self._context.gateway_bell.ring_always()
            self._slot.beat_ns = monotonic_ns()
            self._context.bell.prepare_sleep()
            self._context.bell.wait(FULL_RING_WAIT_S)

    # -- commands from the processor ------------------------------------------------------------------------

    def execute(self, command: Command[R]) -> R:
        """Have the gateway execute a command, and wait for its reply on the main thread."""
        reply = self.call(command.function, command.queue_key, command.arguments(), command.replayable)
        return command.parse_reply(unpack(reply))

    def call(self, function: str, queue_key: str, arguments: bytes, replayable: bool) -> bytes:
        """Have the gateway call a server function; its undecoded reply.

        Raises what a direct connection would raise, and ClosedError on a thread of the processor's own: the rings have
        one writer.
        """
        if threading.get_ident() != self._thread:
            raise ClosedError(
                "only the thread that runs the processor can talk to the server, not one that it started"
            )
        self._in_call = True
        try:
            return self._exchange(command_header(function, queue_key, replayable), arguments)
        finally:
            self._in_call = False
            self._stop_if_overrun()

    def _exchange(self, header: bytes, arguments: bytes) -> bytes:
        seq = self._context.next_command_seq()
        self._push(RecordKind.COMMAND, seq, header, arguments)
        self._context.gateway_bell.ring()
        replies = self._side.replies
        bell = self._context.bell
        parts: list[bytes] = []
        while True:
            record = replies.try_pop()
            if record is None:
                bell.prepare_sleep()
                if replies.is_empty():
                    bell.wait(IDLE_WAIT_S)
                else:
                    bell.cancel_sleep()
                self._stop_if_overrun()
                continue
            if record.seq != seq or record.kind == RecordKind.ABORT:
                continue  # the answer to a call that a soft timeout ended, or news the cancel board has too
            if record.header:
                raise read_error_header(record.header)
            parts.append(record.body)
            if record.kind == RecordKind.REPLY:
                return b"".join(parts)

    # -- timeouts -------------------------------------------------------------------------------------------

    def _on_soft_timeout(self, *_: Any) -> None:
        """The gateway's signal that the running job is over time; late ones find another job, or none."""
        seq = self._running_seq
        if not seq or self._side.cancels.reason_for(seq) != CancelReason.TIMEOUT:
            return
        self._overrun_seq = seq
        if self._in_call:
            # A ring must not be left in the middle of a record; this ends the wait for the reply.
            self._context.bell.ring_always()
        else:
            self._stop_if_overrun()

    def _stop_if_overrun(self) -> None:
        """Raise Overrun, once, in the job that is to be stopped."""
        seq = self._running_seq
        if seq and seq == self._overrun_seq:
            self._running_seq = 0
            raise Overrun
