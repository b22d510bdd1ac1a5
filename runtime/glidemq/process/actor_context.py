"""What a sync and an async actor process have in common: their memory, their bells, their app."""

from __future__ import annotations

import itertools
import os
from typing import Any

import orjson

from glidemq.app import App
from glidemq.clock import monotonic_ns
from glidemq.commands.keys import QueueKeys
from glidemq.commands.rate_limit import limiter_member
from glidemq.options.dead_letter_queue import dead_letter_queue_to_plain
from glidemq.process.app_probe import preload
from glidemq.process_spec import ActorSpec, key_prefix
from glidemq.processor import Processor
from glidemq.rings.actor_segment import ActorSegment
from glidemq.rings.records import RecordKind
from glidemq.shared_memory.doorbell import Doorbell
from glidemq.shared_memory.status_board import StatusBoard
from glidemq.shared_memory.status_slot import Control, ProcessState

# A replacement may be forked while the gateway still harvests its predecessor.
HARVEST_WAIT_S = 0.02


class ActorContext:
    """One actor process's view of its cell.

    Owns: its mappings. Written by: the actor's one thread. Stops when: the process does.
    """

    def __init__(self, spec: ActorSpec) -> None:
        self.spec = spec
        app: App = spec.app if spec.app is not None else preload(spec.config.app or "")
        self._prefix = key_prefix(spec.config, app.prefix)
        self.processors: dict[str, Processor[Any, Any]] = {
            name: processor
            for name, processor in app.processors.items()
            if (processor.pool, processor.role) == (spec.crew.pool, spec.crew.role)
        }
        memory = spec.memory
        self.board = StatusBoard.attach_actor(memory.board, spec.slot + 1)
        self.slot = self.board.slot(spec.slot + 1)
        self.bell: Doorbell = self.slot.bell(memory.actor_bells[spec.slot])
        self.gateway_bell: Doorbell = self.board.gateway.bell(memory.gateway_bell)
        self._supervisor_bell = memory.supervisor_bell
        self._command_seqs = itertools.count((spec.generation << 40) + 1)
        self._wait_for_harvest()
        self.segment = ActorSegment.attach(memory.actor_segments[spec.slot])
        self.side = self.segment.actor_side(spec.generation)

    def _wait_for_harvest(self) -> None:
        """The rings belong to the dead until the gateway has accounted for their jobs (feasibility 6)."""
        while self.slot.harvested_generation < self.spec.generation - 1:
            if self.slot.control is Control.STOP:
                raise SystemExit(0)
            self.slot.beat_ns = monotonic_ns()
            self.bell.prepare_sleep()
            self.bell.wait(HARVEST_WAIT_S)

    def queue_key(self, queue: str) -> str:
        """KEYS[1] of the commands that concern a queue."""
        return QueueKeys(self._prefix, queue).meta

    def next_command_seq(self) -> int:
        """A number for a command, never used before in this slot."""
        return next(self._command_seqs)

    def announce_ready(self) -> None:
        """Tell the gateway what this process serves, and everybody that it is ready."""
        manifest = {
            "pid": os.getpid(),
            "role": self.spec.crew.role,
            "queues": [
                {
                    "name": name,
                    "concurrency": processor.concurrency,
                    "weight": processor.weight,
                    "timeout_ms": processor.timeout_ms,
                    "lock_duration_ms": processor.lock_duration_ms,
                    "batch": None if processor.batch is None else list(processor.batch),
                    "limiter": limiter_member(processor.limiter),
                    "dead_letter_queue": dead_letter_queue_to_plain(processor.dead_letters),
                    "limits": processor.limits.manifest() if processor.limits else None,
                    "estimate": processor.estimate.member() if processor.estimate else None,
                }
                for name, processor in self.processors.items()
            ],
        }
        self.side.outbound.try_push(RecordKind.MANIFEST, 0, b"", orjson.dumps(manifest))
        self.slot.beat_ns = self.slot.ready_ns = monotonic_ns()
        self.change_state(ProcessState.READY)

    def change_state(self, state: ProcessState) -> None:
        """Write the own state and wake both who may wait for it."""
        self.slot.state = state
        self.gateway_bell.ring_always()
        os.eventfd_write(self._supervisor_bell, 1)

    @property
    def told_to_go(self) -> bool:
        """True when the supervisor wants this process to drain or stop."""
        return self.slot.control is not Control.RUN
