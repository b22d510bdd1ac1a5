"""Slots move and primaries change places under load: nothing is lost, and nothing happens twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from valkey.crc import key_slot

from glidemq import CompletedEvent, QueueEvents
from glidemq.commands.keys import QueueKeys
from tests.cluster.app import QUEUES_VARIABLE
from tests.cluster.load import Load
from tests.testkit.checker import QueueOnServer, check
from tests.testkit.cluster import Node, OwnCluster, names_on_each_primary
from tests.testkit.effects import History
from tests.testkit.runtime import Clock, Runtime
from tests.testkit.waiting import eventually

# A node that is starved for two seconds counts as dead here.
pytestmark = pytest.mark.exclusive

QUEUES = MOVED, OTHER = names_on_each_primary("moved")[:2]  # nothing of ours is on the third primary
SLOT = key_slot(QueueKeys("glide", MOVED).meta.encode())


@pytest.fixture(scope="module")
def hurt_cluster() -> Iterator[OwnCluster]:
    running = OwnCluster(node_timeout_ms=2_000)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def cluster(hurt_cluster: OwnCluster) -> OwnCluster:
    """One that these tests share, healed after what the one before has done to it."""
    hurt_cluster.renew()
    return hurt_cluster


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "effects")


@pytest.fixture
async def runtime(
    cluster: OwnCluster, tmp_path: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Runtime]:
    """Two actor processes that serve a queue on one primary, and one on another."""
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
    cluster: OwnCluster,
    history: History,
    fault: Callable[[dict[str, Load]], Awaitable[None]],
    *,
    replicas: int = 0,
) -> dict[str, Load]:
    """Add to the moved queue and to another one, meanwhile let the fault happen, and wait until all is done."""
    loads = {queue: Load(queue, cluster.url, replicas=replicas) for queue in QUEUES}
    try:
        await eventually(lambda: len(history.finished(MOVED)) > 50, "work goes on")
        await fault(loads)
        done = len(history.finished(MOVED))
        await eventually(lambda: len(history.finished(MOVED)) > done + 50, "work goes on afterwards")
    finally:
        for load in loads.values():
            await load.end()
    client = cluster.client()
    for queue in QUEUES:
        await eventually(lambda q=queue: not QueueOnServer(client, q).unfinished(), "all jobs end")  # type: ignore[misc]
    return loads


def check_all(cluster: OwnCluster, history: History, loads: dict[str, Load]) -> None:
    for queue, load in loads.items():
        assert not load.unanswered
        check(QueueOnServer(cluster.client(), queue), history, load.acked, doubtful=load.doubtful)


async def serves(cluster: OwnCluster, node: Node, within_s: float = 10) -> None:
    await eventually(lambda: _owner(cluster) is node, "the other node serves the slot", within_s)


def _owner(cluster: OwnCluster) -> Node | None:
    try:
        return cluster.primary_of(QueueKeys("glide", MOVED).meta)
    except LookupError:
        return None


def move_as_a_whole(cluster: OwnCluster, source: Node, target: Node) -> None:
    """What Valkey 9 does: the target has copied everything when it takes over."""
    source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", SLOT, SLOT, "NODE", target.id)


def move_key_by_key(cluster: OwnCluster, source: Node, target: Node) -> None:
    """What older tools do; calls that come meanwhile would find some keys here and some there."""
    target.ask("CLUSTER", "SETSLOT", SLOT, "IMPORTING", source.id)
    source.ask("CLUSTER", "SETSLOT", SLOT, "MIGRATING", target.id)
    while keys := source.ask("CLUSTER", "GETKEYSINSLOT", SLOT, 1):
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, *cluster.primaries):  # the new owner first
        node.ask("CLUSTER", "SETSLOT", SLOT, "NODE", target.id)


@pytest.mark.parametrize("move_slot", [move_as_a_whole, move_key_by_key])
async def test_slot_that_moves_there_and_back_under_load_loses_and_doubles_nothing(
    cluster: OwnCluster,
    history: History,
    runtime: Runtime,
    move_slot: Callable[[OwnCluster, Node, Node], None],
) -> None:
    old, other = (cluster.primary_of(QueueKeys("glide", queue).meta) for queue in QUEUES)
    (new,) = {*cluster.primaries} - {old, other}
    assert not new.ask("FUNCTION", "LIST"), "as one that has just joined"

    async def move(_: dict[str, Load]) -> None:
        for source, target in ((old, new), (new, old)):
            await asyncio.to_thread(move_slot, cluster, source, target)
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

    async def fail_over(loads: dict[str, Load]) -> None:
        """Meanwhile somebody waits for a job, and somebody listens."""
        async with QueueEvents(MOVED, connection=cluster.url) as events:
            heard = asyncio.create_task(_completion_of("awaited", events))
            waiting = asyncio.create_task(
                loads[MOVED].queue.add_and_wait("tell_token", 0.5, job_id="awaited")
            )
            await eventually(lambda: history.runs_of("awaited", MOVED), "the awaited job runs")
            replica.ask("CLUSTER", "FAILOVER")
            clock = Clock("planned failover")
            await serves(cluster, replica)
            clock.note("the replica serves the slot")
            done = len(history.finished(MOVED))
            await eventually(lambda: len(history.finished(MOVED)) > done, "work goes on there")
            clock.note("a job is finished")
            assert await waiting == await asyncio.wait_for(heard, 10)
        loads[MOVED].acked.append("awaited")

    loads = await under_load(cluster, history, fail_over)
    check_all(cluster, history, loads)
    assert not any(load.doubtful or load.refused for load in loads.values())


async def _completion_of(job_id: str, events: QueueEvents) -> Any:
    async for event in events:
        if isinstance(event, CompletedEvent) and event.job_id == job_id:
            return event.return_value
    return None


async def test_killed_primary_loses_only_what_its_replica_had_not_confirmed_and_doubles_nothing(
    cluster: OwnCluster, history: History, runtime: Runtime
) -> None:
    old = cluster.primary_of(QueueKeys("glide", MOVED).meta)
    replica = cluster.replica_of(old)
    clock = Clock("primary killed")

    async def kill(_: dict[str, Load]) -> None:
        cluster.kill(old)
        others = len(history.finished(OTHER))
        await serves(cluster, replica)
        clock.note("the replica serves the slot")
        meanwhile = [run.at for run in history.finished(OTHER)[others:]]
        longest_pause_s = max(after - before for before, after in pairwise(meanwhile))
        print(
            f"[measured] primary killed: a queue on another node paused for {longest_pause_s:.3f} s at most"
        )
        assert longest_pause_s < 1.0
        done = len(history.finished(MOVED))
        await eventually(lambda: len(history.finished(MOVED)) > done, "work goes on there")
        clock.note("a job is finished")

    loads = await under_load(cluster, history, kill, replicas=1)
    for queue, load in loads.items():
        assert len(load.confirmed) > 50
        looked_at = QueueOnServer(cluster.client(), queue)
        unconfirmed = set(load.acked + load.doubtful) - set(load.confirmed)
        check(looked_at, history, load.confirmed, doubtful=unconfirmed, rerun=None)
        assert len(load.acked) == len(set(load.acked)), "an id was given to two jobs"
    assert not loads[OTHER].doubtful and not loads[OTHER].refused


async def test_primary_killed_after_it_was_cut_off_gives_no_id_twice_and_records_no_second_end(
    cluster: OwnCluster, history: History, runtime: Runtime
) -> None:
    """What it acknowledges from then on is lost, ends of jobs included, and it acknowledges much."""
    old = cluster.primary_of(QueueKeys("glide", MOVED).meta)
    replica = cluster.replica_of(old)
    acked_in_time: list[str] = []

    async def cut_off_and_kill(loads: dict[str, Load]) -> None:
        acked_in_time.extend(loads[MOVED].acked)
        with old.client() as client:
            client.execute_command("CONFIG", "SET", "requirepass", "which the replica does not know")
            client.execute_command("CLIENT", "KILL", "TYPE", "REPLICA")
        done = len(history.finished(MOVED))
        await eventually(lambda: len(history.finished(MOVED)) > done + 100, "work goes on, unreplicated")
        cluster.kill(old)
        await serves(cluster, replica)
        done = len(history.finished(MOVED))
        await eventually(lambda: len(history.finished(MOVED)) > done, "work goes on there")

    loads = await under_load(cluster, history, cut_off_and_kill)
    acked = loads[MOVED].acked
    looked_at = QueueOnServer(cluster.client(), MOVED)
    completed = looked_at.terminal()
    assert set(acked_in_time) <= completed
    assert len(set(acked) - completed) > 50, "nothing was lost: was it cut off?"
    assert len(acked) == len(set(acked)), "an id was given to two jobs"
    assert looked_at.accepted("completed") == len(completed)
    assert looked_at.accepted("failed") == 0
