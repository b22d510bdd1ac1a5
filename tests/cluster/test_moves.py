"""Slots move and primaries change places under load: nothing is lost, and nothing happens twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from valkey.crc import key_slot

from glidemq.commands.keys import QueueKeys
from tests.cluster.app import QUEUES_VARIABLE
from tests.cluster.load import Load
from tests.testkit.checker import QueueOnServer, check
from tests.testkit.cluster import Node, OwnCluster, names_on_each_primary
from tests.testkit.effects import History
from tests.testkit.runtime import Clock, Runtime
from tests.testkit.waiting import eventually

QUEUES = names_on_each_primary("moved")
MOVED, OTHER = QUEUES[:2]
SLOT = key_slot(QueueKeys("glide", MOVED).meta.encode())


@pytest.fixture
def cluster() -> Iterator[OwnCluster]:
    running = OwnCluster(node_timeout_ms=2_000)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "effects")


@pytest.fixture
async def runtime(
    cluster: OwnCluster, tmp_path: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Runtime]:
    """Two actor processes that serve a queue on each primary."""
    monkeypatch.setenv(QUEUES_VARIABLE, ",".join(QUEUES))
    running = Runtime(
        tmp_path / "runtime", "tests.cluster.app:app", url=cluster.url, effects=history.directory,
        arguments=("--procs", "2"),
    ).start()  # fmt: skip
    try:
        yield await running.ready()
        assert running.stop() == 0
    finally:
        running.clean_up()


async def under_load(
    cluster: OwnCluster, history: History, fault: Callable[[], Awaitable[None]]
) -> dict[str, Load]:
    """Add to the moved queue and to another one, meanwhile let the fault happen, and wait until all is done."""
    loads = {queue: Load(queue, cluster.url) for queue in (MOVED, OTHER)}
    try:
        await eventually(lambda: len(history.finished(MOVED)) > 50, "work goes on")
        await fault()
        done = len(history.finished(MOVED))
        await eventually(lambda: len(history.finished(MOVED)) > done + 50, "work goes on afterwards")
    finally:
        for load in loads.values():
            await load.end()
    client = cluster.client()
    for queue, load in loads.items():
        looked_at = QueueOnServer(client, queue)
        await eventually(lambda q=looked_at, n=len(load.acked): q.ended() >= n, "all jobs complete")  # type: ignore[misc]
        await eventually(lambda q=looked_at: not q.unfinished(), "nothing is left")  # type: ignore[misc]
    return loads


def check_all(cluster: OwnCluster, history: History, loads: dict[str, Load]) -> None:
    for queue, load in loads.items():
        assert not load.unanswered
        check(QueueOnServer(cluster.client(), queue), history, load.acked, doubtful=load.doubtful)


async def serves(cluster: OwnCluster, node: Node, within_s: float = 10) -> None:
    meta = QueueKeys("glide", MOVED).meta
    await eventually(lambda: cluster.primary_of(meta) is node, "the other node serves the slot", within_s)


async def test_slot_that_moves_there_and_back_under_load_loses_and_doubles_nothing(
    cluster: OwnCluster, history: History, runtime: Runtime
) -> None:
    old, _, new = cluster.nodes[:3]
    old, new = cluster.primary_of(QueueKeys("glide", MOVED).meta), new
    new.ask("FUNCTION", "FLUSH")  # as a primary that has just joined

    async def move() -> None:
        for source, target in ((old, new), (new, old)):
            source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", SLOT, SLOT, "NODE", target.id)
            await serves(cluster, target)
            done = len(history.finished(MOVED))
            await eventually(lambda done=done: len(history.finished(MOVED)) > done + 50, "work goes on there")  # type: ignore[misc]

    loads = await under_load(cluster, history, move)
    check_all(cluster, history, loads)
    assert not any(load.doubtful or load.refused for load in loads.values())


async def test_planned_failover_under_load_loses_and_doubles_nothing(
    cluster: OwnCluster, history: History, runtime: Runtime
) -> None:
    old = cluster.primary_of(QueueKeys("glide", MOVED).meta)
    replica = cluster.replica_of(old)

    async def fail_over() -> None:
        replica.ask("CLUSTER", "FAILOVER")
        clock = Clock("planned failover")
        await serves(cluster, replica)
        clock.note("the replica serves the slot")
        done = len(history.finished(MOVED))
        await eventually(lambda: len(history.finished(MOVED)) > done, "work goes on there")
        clock.note("a job is finished")

    loads = await under_load(cluster, history, fail_over)
    check_all(cluster, history, loads)
    assert not any(load.doubtful or load.refused for load in loads.values())
