"""Runs a gateway as a process of its own, so that it can be killed: the arguments of its spec come as JSON."""

from __future__ import annotations

import json
import sys

from glidemq.config import RuntimeConfig
from glidemq.process import gateway
from glidemq.process_spec import CellMemory, GatewaySpec
from tests.process.hand_driven import with_crews

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    memory = given.pop("memory")
    memory["actor_segments"] = tuple(map(tuple, memory["actor_segments"]))
    config = RuntimeConfig(**given.pop("config"))
    sys.exit(gateway.run(GatewaySpec(config=config, memory=CellMemory(**memory), **with_crews(given))))
