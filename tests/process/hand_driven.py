"""A cell whose gateway is real and whose actors are played by the test, one move at a time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from glidemq.clock import monotonic_ns
from glidemq.commands.command import unpack
from glidemq.commands.fail import FailureRow
from glidemq.commands.step import CompletionRow
from glidemq.config import RuntimeConfig
from glidemq.config.pools import DEFAULT_POOL
from glidemq.process.gateway import Gateway
from glidemq.process.messages import outcome_header
from glidemq.process_spec import CellMemory, Crew, GatewaySpec, Role
from glidemq.rings.actor_segment import ActorSegment
from glidemq.rings.actor_side import ActorSide, TakenActivation
from glidemq.rings.records import JobIdentity, RecordKind
from glidemq.shared_memory import Control, Doorbell, ProcessRole, ProcessState, StatusBoard

ROLES: Mapping[Role, ProcessRole] = {"sync": ProcessRole.SYNC_ACTOR, "async": ProcessRole.ASYNC_ACTOR}


def with_crews(spec: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a gateway's spec, as they were before they became JSON."""
    return spec | {"crews": tuple(Crew(pool, role) for pool, role in spec["crews"])}


class HandDrivenActor:
    """Plays one actor process: a real process with nothing to do stands for it, so that it can be killed.

    Owns: that process, and the actor side of the slot's segment. Stops when: the cell is closed.
    """

    def __init__(self, cell: HandDrivenCell, index: int, role: Role) -> None:
        self._cell = cell
        self.page = cell.board.slot(index + 1)
        self.generation = self.page.generation + 1
        self.role: Role = role
        self.process = subprocess.Popen(["sh", "-c", "trap '' USR1; exec sleep 600"])
        self.page.begin(self.generation, ROLES[role], monotonic_ns())
        self.page.pid = self.process.pid
        self.segment = ActorSegment.attach(cell.memory.actor_segments[index])
        self.side: ActorSide = self.segment.actor_side(self.generation)
        self.taken: dict[str, TakenActivation] = {}

    def ready(self, queues: Sequence[Mapping[str, Any]] | None = None) -> HandDrivenActor:
        """Say what it serves (all queues of the cell, if not told), and that it is ready."""
        served = list(queues or self._cell.queues)
        self.side.outbound.try_push(RecordKind.MANIFEST, 0, b"", orjson.dumps({"queues": served}))
        self.state(ProcessState.READY)
        return self

    def state(self, state: ProcessState) -> None:
        self.page.state = state
        self._cell.ring_gateway()

    def take(self, limit: int = 64) -> list[str]:
        """Take activations out of the ring; the ids of their jobs."""
        ids: list[str] = []
        for activation in self.side.take_activations(limit):
            job_id = JobIdentity.unpack(activation.record.header).job_id.decode()
            self.taken[job_id] = activation
            ids.append(job_id)
        return ids

    async def takes(self, count: int = 1) -> list[str]:
        """Take so many activations, as they come."""
        ids: list[str] = []
        deadline = time.monotonic() + 20
        while len(ids) < count:
            ids += self.take(count - len(ids))
            assert time.monotonic() < deadline, f"{len(ids)} of {count} activations came"
            await asyncio.sleep(0.001)
        return ids

    def start(self, job_id: str) -> int:
        """Start a job, as far as the ledger knows; not 0 when it was cancelled before."""
        activation = self.taken[job_id]
        self.page.current_seq = activation.record.seq
        self.page.job_started_ns = monotonic_ns()
        return self.side.start(activation)

    def skip(self, job_id: str) -> None:
        """Yield to a cancel word."""
        self._report(RecordKind.SKIPPED, job_id, b"", b"")

    def complete(self, job_id: str, result: bytes = b"null", service_ns: int = 1_000_000) -> None:
        """Report a completion and forget the job."""
        activation = self.taken[job_id]
        fields = unpack(activation.record.body)
        row = CompletionRow.pack(fields[0], fields[8], int(fields[7]), fields[9], result, False)
        self._report(RecordKind.COMPLETION, job_id, self._header(activation, service_ns), row)

    def fail(self, job_id: str, reason: str, attempts: int = 0) -> None:
        """Report a failure and forget the job."""
        activation = self.taken[job_id]
        fields = unpack(activation.record.body)
        row = FailureRow.pack(fields[0], fields[8], int(fields[7]), fields[9], reason, attempts, 0, False)
        self._report(RecordKind.FAILURE, job_id, self._header(activation, 1_000_000), row)

    def run(self, job_id: str, **more: Any) -> None:
        """Start and complete."""
        assert self.start(job_id) == 0
        self.complete(job_id, **more)

    def run_or_skip(self, job_id: str, **more: Any) -> bool:
        """As an actor does: complete the job, or yield if it was taken back meanwhile, which is False."""
        if self.start(job_id):
            self.skip(job_id)
            return False
        self.complete(job_id, **more)
        return True

    def die(self, wait_status: int = signal.SIGKILL) -> None:
        """Be killed and reaped, as the supervisor would record it."""
        self.process.kill()
        self.process.wait()
        self.page.exit_status = wait_status
        self.page.pid = 0
        self.state(ProcessState.DEAD)

    @staticmethod
    def _header(activation: TakenActivation, service_ns: int) -> bytes:
        return outcome_header(service_ns, JobIdentity.unpack(activation.record.header).queue)

    def _report(self, kind: RecordKind, job_id: str, header: bytes, body: bytes) -> None:
        activation = self.taken.pop(job_id)
        self.page.current_seq = 0
        assert self.side.outbound.try_push(kind, activation.record.seq, header, body)
        self.side.finish(activation)
        self._cell.ring_gateway()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.segment.close()


class HandDrivenCell:
    """The memory of a cell, its gateway as a task of the test's loop, and its actors.

    Owns: all of them. Stops when: closed.
    """

    def __init__(
        self, url: str, queues: Sequence[Mapping[str, Any]], *, slots: int = 2, **settings: Any
    ) -> None:
        self._settings = {"url": url, **settings}
        self.config = RuntimeConfig(**self._settings)
        self.queues = queues
        self.board = StatusBoard.create(slots)
        self._segments = [ActorSegment.create() for _ in range(slots)]
        self._bells = [Doorbell.create_fd() for _ in range(slots + 2)]
        self.memory = CellMemory(
            board=self.board.fd,
            actor_segments=tuple(segment.fds() for segment in self._segments),
            actor_bells=tuple(self._bells[2:]),
            gateway_bell=self._bells[0],
            supervisor_bell=self._bells[1],
        )
        self._gateway_bell = self.board.gateway.bell(self._bells[0])
        self.consumer = f"by-hand-{self._bells[0]}-{os.getpid()}"
        self._actors: list[HandDrivenActor] = []
        self._tasks: list[asyncio.Task[int]] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    # -- processes ---------------------------------------------------------------------------------------

    def actor(self, index: int = 0, role: Role = "sync") -> HandDrivenActor:
        """A new process in a slot whose last one is accounted for."""
        made = HandDrivenActor(self, index, role)
        self._actors.append(made)
        return made

    def gateway(self) -> Gateway:
        """The next gateway of the cell, not running yet."""
        return Gateway(
            GatewaySpec(
                config=self.config, memory=self.memory, **with_crews(self._next_gateway(os.getppid()))
            )
        )

    def _next_gateway(self, supervisor_pid: int) -> dict[str, Any]:
        page = self.board.gateway
        page.begin(page.generation + 1, ProcessRole.GATEWAY, monotonic_ns())
        return {
            "cell": 0,
            "consumer": self.consumer,
            "generation": page.generation,
            "supervisor_pid": supervisor_pid,
            "crews": [(DEFAULT_POOL, "sync")] * len(self.memory.actor_segments),
            "manifest": {"app": "by:hand", "prefix": None, "queues": list(self.queues)},
        }

    async def spawned_gateway(self) -> subprocess.Popen[bytes]:
        """A gateway that is ready, in a process of its own."""
        given = self._next_gateway(os.getpid()) | {"config": self._settings, "memory": asdict(self.memory)}
        segments = [fd for fds in self.memory.actor_segments for fd in fds]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.process.gateway_process", json.dumps(given)],
            pass_fds=[self.memory.board, *self._bells, *segments],
        )
        self._processes.append(process)
        await self.until(lambda: self.board.gateway.state is ProcessState.READY, "READY")
        return process

    def run(self, gateway: Gateway) -> asyncio.Task[int]:
        task = asyncio.get_running_loop().create_task(gateway.run())
        self._tasks.append(task)
        return task

    async def started(self) -> Gateway:
        """A gateway that is ready."""
        gateway = self.gateway()
        task = self.run(gateway)
        await self.until(lambda: task.done() or self.board.gateway.state is ProcessState.READY, "READY")
        assert not task.done(), task
        return gateway

    def tell_gateway(self, control: Control) -> None:
        self.board.gateway.control = control
        self._gateway_bell.ring_always()

    def ring_gateway(self) -> None:
        self._gateway_bell.ring_always()

    @staticmethod
    async def until(condition: Callable[[], object], what: str, within_s: float = 20.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
            await asyncio.sleep(0.002)

    async def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for actor in self._actors:
            actor.close()
        running = [task for task in self._tasks if not task.done()]
        if running:
            self.tell_gateway(Control.STOP)
            _, left = await asyncio.wait(running, timeout=10)
            for task in left:
                task.cancel()
            assert not left, "the gateway did not stop"
        self.board.close()
        for segment in self._segments:
            segment.close()
        for bell in self._bells:
            os.close(bell)
