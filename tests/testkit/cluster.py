"""A Valkey cluster for tests: three primaries and a replica of each, of the real binary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import valkey
from valkey.crc import key_slot

from tests.testkit.server import ValkeyServer, free_port
from tests.testkit.waiting import wait_until

SLOTS = 16384
PRIMARIES = 3


class Node:
    """One server of a cluster, as it says of itself; whoever runs it."""

    def __init__(self, port: int, socket: Path) -> None:
        self.port = port
        self.socket = socket

    def client(self) -> valkey.Valkey:
        """A plain client of this node, which follows no redirection."""
        return valkey.Valkey(unix_socket_path=str(self.socket), socket_timeout=10)

    def ask(self, *command: Any) -> Any:
        """Send one command to this node and to no other."""
        with self.client() as client:
            return client.execute_command(*command)

    @property
    def id(self) -> str:
        return str(self.ask("CLUSTER", "MYID").decode())

    @property
    def role(self) -> str:
        """`master`, `slave`, or `dead`."""
        try:
            return str(self.ask("ROLE")[0].decode())
        except valkey.ConnectionError:
            return "dead"


class Cluster:
    """Servers that share the slots. Owns: nothing; others may use it too."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        """Names two nodes; the others are discovered."""
        return "valkey+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    @property
    def primaries(self) -> list[Node]:
        return [node for node in self.nodes if node.role == "master"]

    def primary_of(self, key: str) -> Node:
        """The node that serves this key now, as it says itself."""
        slot = key_slot(key.encode())
        for node in self.primaries:
            for first, last, (_, port, *_), *_ in node.ask("CLUSTER", "SLOTS"):
                if first <= slot <= last and port == node.port:
                    return node
        raise LookupError(f"nobody serves slot {slot}")

    def replica_of(self, primary: Node) -> Node:
        """The node that copies this one."""
        replicas = [node for node in self.nodes if node.role == "slave"]
        return next(node for node in replicas if node.ask("ROLE")[2] == primary.port)

    def client(self) -> valkey.ValkeyCluster:
        """A plain client that finds the node of each key."""
        return valkey.ValkeyCluster(host="127.0.0.1", port=self.primaries[0].port, socket_timeout=10)

    def is_whole(self) -> bool:
        """Whether all nodes agree that every slot is served, and all replicas have caught up."""
        return all(
            b"cluster_state:ok" in (info := node.ask("CLUSTER", "INFO"))
            and b"cluster_slots_ok:%d\r" % SLOTS in info
            and b"cluster_known_nodes:%d\r" % len(self.nodes) in info
            and ((role := node.ask("ROLE"))[0] == b"master" or role[3] == b"connected")
            for node in self.nodes
        )


class OwnCluster(Cluster):
    """A cluster of private servers, up within two seconds: do to it what you like.

    Nothing is written to disk: what a node holds lives as long as it or its replica. Owns: the servers.
    Stops when: `stop` is called, or the process that started it dies.
    """

    def __init__(self, *, node_timeout_ms: int = 15_000) -> None:
        """node_timeout_ms: how long a node may be mute before its replica takes over; as it is, a starved host
        fails nobody over by accident.
        """
        self._bus_ports = [free_port() for _ in range(2 * PRIMARIES)]
        self._servers = [
            ValkeyServer(
                "--cluster-enabled", "yes", "--cluster-port", str(bus_port),
                "--cluster-node-timeout", str(node_timeout_ms),
                # Replicas follow at once, and take over however long they were behind; part of the slots is served
                # while another part is not.
                "--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0",
                "--cluster-require-full-coverage", "no",
            )
            for bus_port in self._bus_ports
        ]  # fmt: skip
        super().__init__([Node(server.port, server.socket) for server in self._servers])

    def start(self) -> OwnCluster:
        for server in self._servers:
            server.spawn()
        for server in self._servers:
            server.wait_ready()
        for n, node in enumerate(self.nodes[:PRIMARIES]):
            first, last = n * SLOTS // PRIMARIES, (n + 1) * SLOTS // PRIMARIES - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.ask(
                "CLUSTER", "SET-CONFIG-EPOCH", n + 1
            )  # else they find out by colliding, which takes a while
        for node, bus_port in list(zip(self.nodes, self._bus_ports, strict=True))[1:]:
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus_port)
        for primary, replica in zip(self.nodes[:PRIMARIES], self.nodes[PRIMARIES:], strict=True):
            wait_until(lambda p=primary.id, r=replica: _follows(r, p), "a replica knows its primary")  # type: ignore[misc]
        wait_until(self.is_whole, "all nodes know each other, and replicas have caught up")
        return self

    def renew(self) -> None:
        """As it was at first, but for who is whose replica: everybody is up again, and empty."""
        for server in self._servers:
            if server.process is None:
                server.start()
        wait_until(self.is_whole, "who was dead follows whoever has taken over")
        for node in self.primaries:
            node.ask("FLUSHALL")
            node.ask("FUNCTION", "FLUSH")

    def kill(self, node: Node) -> None:
        """SIGKILL one server."""
        self._server_of(node).kill()

    def signal(self, node: Node, number: int) -> None:
        self._server_of(node).signal(number)

    def stop(self) -> None:
        for server in self._servers:
            server.stop()

    def _server_of(self, node: Node) -> ValkeyServer:
        return self._servers[list(self.nodes).index(node)]


def _follows(replica: Node, primary_id: str) -> bool:
    try:
        replica.ask("CLUSTER", "REPLICATE", primary_id)
    except valkey.ResponseError as error:
        if "Unknown node" not in str(error):
            raise
        return False
    return True


def names_on_each_primary(base: str, each: int = 1) -> list[str]:
    """Queue names that begin with `base`, `each` of them in every primary's share of the slots at the start."""
    shares: list[list[str]] = [[] for _ in range(PRIMARIES)]
    number = 0
    while any(len(share) < each for share in shares):
        name = f"{base}-{number}"
        share = shares[key_slot(b"{%s}" % name.encode()) * PRIMARIES // SLOTS]
        if len(share) < each:
            share.append(name)
        number += 1
    return [name for share in shares for name in share]
