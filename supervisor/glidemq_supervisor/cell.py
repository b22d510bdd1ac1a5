"""One cell as the supervisor sees it: a gateway's slot, actors' slots, and what their processes are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from glidemq.config import RuntimeConfig
from glidemq.process_spec import ActorSpec, GatewaySpec
from glidemq_supervisor.arena import Arena
from glidemq_supervisor.cell_plan import CellPlan
from glidemq_supervisor.forker import ChildSetup
from glidemq_supervisor.process_slot import ProcessSlot, SlotAddress

# Enough to give the jobs back; all together is to be gone within two seconds of the supervisor's death.
_GATEWAY_OUTLIVES_SUPERVISOR_S = 1.8


class Cell:
    """Owns: the arena, and through its slots the supervisor's words on the status board."""

    def __init__(self, plan: CellPlan, arena: Arena, consumer: str) -> None:
        self.plan = plan
        self.arena = arena
        self.consumer = consumer
        self.gateway = ProcessSlot(SlotAddress(plan.index, None), arena.board.gateway, arena.bell(0))
        self.actors = [
            ProcessSlot(
                address, arena.board.slot(address.index + 1), arena.bell(address.index + 1), arena.bell(0)
            )
            for address in plan.slots
        ]

    @property
    def slots(self) -> Iterator[ProcessSlot]:
        yield self.gateway
        yield from self.actors

    def gateway_spec(
        self, config: RuntimeConfig, manifest: Mapping[str, Any], supervisor_pid: int
    ) -> GatewaySpec:
        return GatewaySpec(
            config=config,
            cell=self.plan.index,
            consumer=self.consumer,
            generation=self.gateway.generation,
            memory=self.arena.memory,
            supervisor_pid=supervisor_pid,
            manifest=manifest,
            crews=tuple(crew for crew in (actor.address.crew for actor in self.actors) if crew is not None),
        )

    def actor_spec(self, slot: ProcessSlot, config: RuntimeConfig, supervisor_pid: int) -> ActorSpec:
        address = slot.address
        assert address.crew is not None
        return ActorSpec(
            config=config,
            cell=address.cell,
            slot=address.index,
            crew=address.crew,
            generation=slot.generation,
            memory=self.arena.memory,
            supervisor_pid=supervisor_pid,
        )

    def setup_of(self, slot: ProcessSlot, config: RuntimeConfig) -> ChildSetup:
        """How a process for `slot` is set up after its fork."""
        cores = self.plan.cores
        if slot.address.is_gateway:
            return ChildSetup(
                name=slot.label,
                keep=self.arena.needed_by_gateway(),
                outlives_parent_s=_GATEWAY_OUTLIVES_SUPERVISOR_S,
                cpus=cores.for_gateway(),
            )
        return ChildSetup(
            name=slot.label,
            keep=self.arena.needed_by_actor(slot.address.index),
            cpus=cores.for_actor(slot.address.index, pin=config.pin),
            import_path=config.import_path,
        )
