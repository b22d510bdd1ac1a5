"""What the parts of a queue pump share: the queue's settings, and the cell around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from glidemq.commands.answer_budgets import RefusedByBudget
from glidemq.commands.keys import QueueKeys
from glidemq.commands.rate_limit import RateLimitOnWire
from glidemq.connection.connection import Connection
from glidemq.options import BatchRule
from glidemq.options.dead_letter_queue import DeadLetterQueueOnWire
from glidemq.options.estimates import RunEstimate
from glidemq.options.token_limiter import QueueLimits
from glidemq.pipeline.completer import Outcome
from glidemq.pipeline.fair_turns import FairTurns
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.limits.start_gate import OPEN_GATE, StartGate
from glidemq.pipeline.link import WorkLink

if TYPE_CHECKING:
    from glidemq.pipeline.queue_pump import QueuePump


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What a pump must know about its queue.

    lock_ms, timeout_ms: for jobs without their own; a timeout of 0 means none. limiter: the worker's own limit.
    weight: the queue's share of the processing time of actors that it shares with other queues. batch: how its jobs
    gather to be run together. dead_letters: what the queue is to have, None leaves what is stored. estimate: what jobs
    use at most that state nothing.
    """

    queue: str
    prefix: str = "glide"
    lock_ms: int = 30_000
    timeout_ms: int = 0
    limiter: RateLimitOnWire | None = None
    max_crashes: int = 3
    weight: int = 1
    events: bool = True
    metrics: bool = True
    batch: BatchRule | None = None
    dead_letters: DeadLetterQueueOnWire | None = None
    limits: QueueLimits | None = None
    estimate: RunEstimate | None = None

    @property
    def gather_ns(self) -> int:
        """How long a job may wait for company before it starts."""
        return self.batch.timeout_ms * 1_000_000 if self.batch is not None else 0

    @property
    def keys(self) -> QueueKeys:
        """The queue's key names."""
        return QueueKeys(self.prefix, self.queue)


class PumpObserver(Protocol):
    """Told about what the server has decided; must not block and must not raise."""

    def settled(self, outcome: Outcome, code: int) -> None:
        """The server answered `code` for this outcome."""
        ...

    def released(self, lease: Lease, code: int, crash_reason: str | bool | None) -> None:
        """The server answered `code` for a job that was given back; `crash_reason` is that of its `Return`."""
        ...

    def refused(self, refused: RefusedByBudget) -> None:
        """The budget of its flow has no room for a job."""
        ...

    def troubled(self, queue: str, error: Exception) -> None:
        """A call failed and will be repeated."""
        ...


@dataclass(frozen=True, slots=True)
class PumpContext:
    """The cell as its pumps see it.

    restore_leases: to be awaited before a call after trouble: every lease is extended first. connection_lost: to be
    called when a call failed. drained: called when the server has nothing more that may start. posted: called when
    another queue must hear of what a call has done. turns: the line of the queues that share slots. rests:
    called when a queue is not to be read for a while, and when it may be again.
    gate_of: what decides whether a queue's limits let its jobs start.
    """

    consumer: str
    connection: Connection
    in_flight: InFlight
    link: WorkLink
    observer: PumpObserver
    restore_leases: Callable[[], Awaitable[None]]
    connection_lost: Callable[[], None]
    drained: Callable[[QueuePump], None]
    posted: Callable[[QueuePump], None]
    turns: FairTurns
    rests: Callable[[QueuePump], None]
    gate_of: Callable[[QueuePump], StartGate] = lambda _: OPEN_GATE
