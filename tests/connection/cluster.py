"""A cluster of three primaries for tests."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.testkit.server import ValkeyServer, free_port

SLOTS = 16384


class Cluster:
    """Three private servers that share the slots. Stops when: `stop` is called, or the test process dies."""

    def __init__(self) -> None:
        self.bus_ports = [free_port() for _ in range(3)]
        self.servers = [
            ValkeyServer(
                "--cluster-enabled", "yes", "--cluster-port", str(port), "--cluster-node-timeout", "2000"
            )
            for port in self.bus_ports
        ]

    @property
    def url(self) -> str:
        """Names one node; the others are discovered."""
        return f"valkey+cluster://127.0.0.1:{self.servers[0].port}"

    async def start(self) -> None:
        share = SLOTS // len(self.servers)
        for n, server in enumerate(self.servers):
            server.start()
            last = SLOTS - 1 if n == len(self.servers) - 1 else (n + 1) * share - 1
            self.run(server, "CLUSTER", "ADDSLOTSRANGE", n * share, last)
        for server, bus_port in zip(self.servers[1:], self.bus_ports[1:], strict=True):
            self.run(self.servers[0], "CLUSTER", "MEET", "127.0.0.1", server.port, bus_port)
        async with asyncio.timeout(30):
            for server in self.servers:
                while b"cluster_state:ok" not in self.run(server, "CLUSTER", "INFO"):
                    await asyncio.sleep(0.02)

    def owner_of(self, slot: int) -> ValkeyServer:
        return self.servers[min(slot // (SLOTS // len(self.servers)), len(self.servers) - 1)]

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    @staticmethod
    def run(server: ValkeyServer, *command: Any) -> Any:
        with server.client() as client:
            return client.execute_command(*command)
