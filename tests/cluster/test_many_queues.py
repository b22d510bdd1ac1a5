"""One host, many queues on all nodes: idle ones start at once, and those of a node that is away hold nobody up."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest

from glidemq import App, Job, Queue
from glidemq.actors.cell import Cell
from glidemq.actors.cell_settings import CellSettings
from glidemq.actors.local_link import LocalLink
from glidemq.actors.reader_set import MAX_CLUSTER_READERS
from glidemq.commands.keys import QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection, ReaderConnection, SharedClient
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.pump_context import QueueSettings
from glidemq.worker.local_executions import TaskExecution
from tests.testkit.cluster import Cluster, OwnCluster, names_on_each_primary
from tests.testkit.waiting import eventually

LOCK_MS = 1_000
SLOTS = 2


class Host:
    """One cell over several queues, as a gateway has it, with its jobs in this process.

    A job sleeps for as many seconds as its data says. Owns: the cell. Stops when: the `serving` block ends.
    """

    def __init__(self, url: str, queues: Sequence[str], *, promotion_interval: float) -> None:
        options = ConnectionOptions.from_url(url)
        commands = CommandConnection(options)
        in_flight = InFlight()
        link = LocalLink(in_flight, max_wait_ns=20_000_000)
        self.cell = Cell(
            CellSettings(f"host-{id(self)}", promotion_interval=promotion_interval, cluster=True),
            commands=commands,
            connect_reader=lambda: ReaderConnection(options),
            in_flight=in_flight,
            link=link,
        )
        self.started_at: dict[str, list[float]] = {queue: [] for queue in queues}
        app = App()
        for queue in queues:
            app.processor(queue, concurrency=SLOTS)(self._process)
            key = QueueKeys("glide", queue).meta
            link.serve(
                queue,
                TaskExecution(app.processors[queue], queue, key, commands, concurrency=SLOTS, kill_grace_s=1),
            )
            self.cell.serve(QueueSettings(queue, lock_ms=LOCK_MS))
        link.on_freed = self.cell.slots_freed

    async def _process(self, job: Job[Any, Any]) -> None:
        self.started_at[job.queue_name].append(time.monotonic())
        await asyncio.sleep(job.data)

    def starts(self) -> int:
        return sum(map(len, self.started_at.values()))


@contextlib.asynccontextmanager
async def serving(
    url: str, queues: Sequence[str], *, promotion_interval: float = 0.25
) -> AsyncIterator[Host]:
    host = Host(url, queues, promotion_interval=promotion_interval)
    try:
        await host.cell.start()
        yield host
    finally:
        await host.cell.stop(deliver_for_s=1)


@pytest.fixture
def own_cluster() -> Iterator[OwnCluster]:
    running = OwnCluster()  # nobody takes over within the test
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.mark.parametrize("each", [2, 6])
async def test_idle_queues_on_every_node_start_a_job_without_being_polled(
    cluster: Cluster, each: int
) -> None:
    queues = names_on_each_primary(f"idle-{each}-{time.monotonic_ns()}", each)
    async with (
        await SharedClient.connect(cluster.url) as client,
        serving(cluster.url, queues, promotion_interval=30) as host,
    ):
        for number in range(1, 4):
            await eventually(lambda: host.cell.readers.blocking, "somebody reads")
            await asyncio.gather(*(Queue[Any, Any](queue, client=client).add("idle", 0) for queue in queues))
            everyone = number * len(queues)
            await eventually(lambda n=everyone: host.starts() == n, "every queue starts its job", within_s=5)  # type: ignore[misc]
        assert host.cell.readers.size == min(len(queues), MAX_CLUSTER_READERS)


@pytest.mark.exclusive
async def test_ordered_jobs_follow_each_other_at_once_although_queues_take_turns_at_being_watched(
    cluster: Cluster,
) -> None:
    queues = names_on_each_primary(f"ordered-{time.monotonic_ns()}", MAX_CLUSTER_READERS)
    async with (
        await SharedClient.connect(cluster.url) as client,
        serving(cluster.url, queues, promotion_interval=30) as host,
    ):
        queue = Queue[Any, Any](queues[0], client=client)
        await queue.add_bulk([("ordered", 0, {"ordering": {"key": "k"}})] * 20)
        await eventually(lambda: host.starts() == 20, "all of them start", within_s=5)
        starts = host.started_at[queues[0]]
        assert starts[-1] - starts[0] < 0.5, "found by turns of 50 ms, not with the end of the one before"


@pytest.mark.exclusive
async def test_frozen_node_holds_up_no_job_heartbeat_or_timer_of_other_nodes(own_cluster: OwnCluster) -> None:
    frozen, *others = names_on_each_primary("frozen")
    meta = {queue: QueueKeys("glide", queue).meta for queue in (frozen, *others)}
    node, healthy = own_cluster.primary_of(meta[frozen]), own_cluster.primary_of(meta[others[0]])
    async with (
        await SharedClient.connect(own_cluster.url) as client,
        serving(own_cluster.url, [frozen, *others]) as host,
    ):
        queues = {queue: Queue[Any, Any](queue, client=client) for queue in (frozen, *others)}
        job = await queues[others[0]].add("long", 4.0)
        assert job is not None
        long_job = QueueKeys("glide", others[0]).job(job.id)
        await queues[frozen].add("long", 4.0)
        await eventually(lambda: host.starts() == 2, "two long jobs run")
        await queues[others[1]].upsert_job_scheduler("tick", {"every": 0.2}, {"data": 0})
        looker: Any = healthy.client()
        own_cluster.signal(node, signal.SIGSTOP)
        try:
            began = time.monotonic()
            while time.monotonic() - began < 3.5:
                await queues[others[1]].add("short", 0)
                seconds, microseconds = looker.time()
                renewed_ms = int(looker.hget(long_job, "lastActive"))
                assert seconds * 1000 + microseconds // 1000 - renewed_ms < LOCK_MS, "its lease has run out"
                await asyncio.sleep(0.02)
        finally:
            own_cluster.signal(node, signal.SIGCONT)
        starts = [at for at in host.started_at[others[1]] if at > began]
        assert max(after - before for before, after in pairwise(starts)) < 0.5
        ticks = (await queues[others[1]].get_job_scheduler("tick")).iteration_count  # type: ignore[union-attr]
        assert ticks >= 14, "17 slots have passed"
        await queues[frozen].add("short", 0)
        await eventually(lambda: len(host.started_at[frozen]) == 2, "the frozen node's queue goes on", 10)
