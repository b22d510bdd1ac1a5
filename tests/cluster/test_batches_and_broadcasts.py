"""Batches, broadcasts and searches on every node of a cluster."""

from __future__ import annotations

import uuid
from typing import Any

from glidemq import Batch, Broadcast, BroadcastWorker, Job, Queue, Worker
from glidemq.commands.keys import QueueKeys
from tests.testkit.cluster import Cluster
from tests.testkit.waiting import eventually

RUN = uuid.uuid4().hex[:6]  # several processes of one run of pytest share the cluster


def names_on_all_nodes(cluster: Cluster, kind: str) -> list[str]:
    """One name per primary."""
    by_node: dict[Any, str] = {}
    for number in range(200):
        name = f"{kind}-{RUN}-{number}"
        by_node.setdefault(cluster.primary_of(QueueKeys("glide", name).meta), name)
    assert set(by_node) == set(cluster.primaries)
    return list(by_node.values())


async def test_batches_run_on_every_node(cluster: Cluster) -> None:
    async def sizes(jobs: list[Job[int, int]]) -> list[int]:
        return [len(jobs)] * len(jobs)

    for name in names_on_all_nodes(cluster, "batches"):
        async with Queue[Any, Any](name, connection=cluster.url) as queue:
            jobs = await queue.add_bulk([("n", number) for number in range(7)])
            async with Worker[Any, Any](name, sizes, connection=cluster.url, batch=Batch(5)):
                for job in jobs:
                    assert await job.wait_until_finished(poll=0.01) == "completed"
            assert sorted(job.return_value or 0 for job in jobs) == [2, 2, 5, 5, 5, 5, 5]


async def test_broadcasts_reach_all_subscriptions_on_every_node(cluster: Cluster) -> None:
    for name in names_on_all_nodes(cluster, "news"):
        got: list[Any] = []
        steady: list[Any] = []

        async def fail_once(job: Job[int, None], got: list[Any] = got) -> None:
            got.append((job.data, job.attempts_made))
            if job.data == 2 and not job.attempts_made:
                raise ValueError("once")

        async def note(job: Job[int, None], steady: list[Any] = steady) -> None:
            steady.append(job.data)

        async with (
            Broadcast[int](name, connection=cluster.url, max_messages=3) as news,
            BroadcastWorker[int, None](
                name, fail_once, subscription="one", subjects=["a.*"], connection=cluster.url
            ),
            BroadcastWorker[int, None](name, note, subscription="two", connection=cluster.url),
        ):
            await news.publish("b", 1, attempts=2)
            await news.publish("a.b", 2, attempts=2)
            await eventually(lambda got=got, steady=steady: len(got) == 2 and len(steady) == 2, name)  # type: ignore[misc]
            for number in (3, 4, 5):
                await news.publish("b", number)
            await eventually(lambda steady=steady: len(steady) == 5, name)  # type: ignore[misc]
        assert got == [(2, 0), (2, 1)]
        async with Queue[Any, Any](name, connection=cluster.url) as queue:
            assert sorted(job.data for job in await queue.search_jobs()) == [3, 4, 5]


async def test_a_search_finds_the_jobs_of_its_own_queue_on_every_node(cluster: Cluster) -> None:
    for name in names_on_all_nodes(cluster, "search"):
        async with Queue[Any, Any](name, connection=cluster.url) as queue:
            await queue.add_bulk([("n", {"even": number % 2 == 0, "n": number}) for number in range(300)])
            found = await queue.search_jobs(data={"even": True}, limit=1000)
            assert sorted(job.data["n"] for job in found) == list(range(0, 300, 2))
            assert len(await queue.search_jobs(state="waiting", name="n", limit=1000)) == 300
            await queue.obliterate()
