"""An actor in the test's own process, whose gateway's part the test plays."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

from glidemq import App, SyncJob
from glidemq.clock import monotonic_ns
from glidemq.commands.command import pack, unpack
from glidemq.config import RuntimeConfig
from glidemq.config.pools import DEFAULT_POOL
from glidemq.process.actor_context import ActorContext
from glidemq.process.sync_actor import SyncActor
from glidemq.process_spec import ActorSpec, CellMemory, Crew, Role
from glidemq.rings.actor_segment import ActorSegment
from glidemq.rings.gateway_side import GatewaySide
from glidemq.rings.records import JobIdentity, Record, RecordKind
from glidemq.shared_memory import Doorbell, ProcessRole, StatusBoard

QUEUE = "q"
PROCESSED_ON = 1_795_313_086_551


class OneProcess:
    """One actor process's context over real memory, with the gateway's side of it.

    Owns: the memory. Stops when: the process does; made in a forked child.
    """

    def __init__(self, processor: Callable[[Any], Any], *, kill_grace: float = 5.0, **options: Any) -> None:
        self.board = StatusBoard.create(1)
        self._segment = ActorSegment.create()
        bells = [Doorbell.create_fd() for _ in range(3)]
        self.page = self.board.slot(1)
        role: Role = "async" if inspect.iscoroutinefunction(processor) else "sync"
        kind = ProcessRole.ASYNC_ACTOR if role == "async" else ProcessRole.SYNC_ACTOR
        self.page.begin(1, kind, monotonic_ns())
        self.gateway: GatewaySide = ActorSegment.attach(self._segment.fds()).gateway_side()
        self.actor_bell = self.page.bell(bells[1])
        app = App()
        app.processor(QUEUE, **options)(processor)
        memory = CellMemory(self.board.fd, (self._segment.fds(),), (bells[1],), bells[0], bells[2])
        config = RuntimeConfig(app="in:process", url="valkey://nowhere", kill_grace=kill_grace)
        self.context = ActorContext(
            ActorSpec(config, 0, 0, Crew(DEFAULT_POOL, role), 1, memory, os.getppid(), app)
        )
        self._seqs = 0

    def push(self, data: bytes = b"{}", *, processed_on: int = PROCESSED_ON) -> int:
        """Put one job into the activation ring; its number."""
        self._seqs += 1
        seq = self._seqs
        job_id, token, entry_id = b"%d" % seq, b"run.%d" % seq, b"%d-0" % seq
        header = JobIdentity(processed_on, 0, QUEUE.encode(), job_id, token, entry_id, b"a").pack()
        blob = pack((job_id, b"a", data, b"{}", processed_on, 0, 0, processed_on, token, entry_id, {}))
        assert self.gateway.activations.try_push(RecordKind.ACTIVATION, seq, header, blob)
        return seq

    def fill_ring(self) -> None:
        """Leave no room for an outcome, as when the server is away."""
        for size in (30_000, 0):
            while self.context.side.outbound.try_push(RecordKind.COMMAND, 0, b"", b"x" * size):
                pass

    def outcomes(self) -> list[Record]:
        """What the actor has reported since the last look."""
        found: list[Record] = []
        while items := self.gateway.outbound.read_many(100):
            self.gateway.outbound.acknowledge(items[-1][1])
            found += [record for record, _ in items]
        return [record for record in found if record.kind in (RecordKind.COMPLETION, RecordKind.FAILURE)]


class OneActor(OneProcess):
    """One `SyncActor`, driven job by job on the caller's thread."""

    def __init__(self, processor: Callable[[SyncJob[Any, Any]], Any], **options: Any) -> None:
        super().__init__(processor, **options)
        self.actor = SyncActor(self.context)

    def process(self) -> None:
        """Have the actor take and process one job."""
        (activation,) = self.actor._side.take_activations(1)
        self.actor._process(activation)


def reason_in(record: Record) -> str:
    """The reason in a failure's row."""
    reason: bytes = unpack(record.body)[4]
    return reason.decode()
