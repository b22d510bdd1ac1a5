"""One cluster for a whole run of pytest, whatever number of processes it has.

The first process that asks starts a keeper, which starts the servers. Every process that uses the cluster holds a
shared lock on a file; the keeper waits for the exclusive one, which it gets when the last of them has let go or died.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.testkit.cluster import Cluster, Node, OwnCluster
from tests.testkit.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def shared_cluster(directory: Path) -> Iterator[Cluster]:
    """The cluster of all who name this directory: use names of your own, kill nothing, move nothing."""
    with (directory / "cluster-first").open("a") as first, (directory / "cluster-users").open("a") as users:
        fcntl.flock(first, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        nodes = directory / "cluster-nodes"
        if not nodes.exists():
            _start_keeper(directory, nodes)
        fcntl.flock(first, fcntl.LOCK_UN)
        places = json.loads(nodes.read_text())
        yield Cluster([Node(port, Path(socket)) for port, socket in places])


def _start_keeper(directory: Path, nodes: Path) -> None:
    log = directory / "cluster-keeper.log"
    with log.open("ab") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.testkit.shared_cluster", str(directory)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # ctrl-C is for pytest; the keeper ends when pytest has
        )
    wait_until(lambda: nodes.exists() or keeper.poll() is not None, "the cluster is up")
    assert nodes.exists(), log.read_text()


def _keep(directory: Path) -> None:
    cluster = OwnCluster()
    nodes, draft = directory / "cluster-nodes", directory / "cluster-nodes.new"
    try:
        cluster.start()
        draft.write_text(json.dumps([[node.port, str(node.socket)] for node in cluster.nodes]))
        draft.replace(nodes)
        with (directory / "cluster-users").open("a") as users:
            fcntl.flock(users, fcntl.LOCK_EX)
            nodes.unlink()  # whoever asks from now on waits for the lock, and then starts another keeper
            cluster.stop()
    finally:
        cluster.stop()


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))
