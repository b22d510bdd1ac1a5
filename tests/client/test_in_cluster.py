"""The client's calls in a cluster: queues on all nodes, one shared client, and readers that find the right node."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from glidemq import JobFailedError, Producer, Queue, RateLimit, SharedClient, UnrecoverableError, Worker
from glidemq.commands.keys import QueueKeys
from tests.testkit.cluster import Cluster

NAMES = [f"queue-{number}" for number in range(6)]  # spread over all nodes


async def answer(job: Any) -> Any:
    if job.data is None:
        raise UnrecoverableError("nothing to answer")
    return {"answer": job.data}


async def test_adding_and_waiting_on_every_node(cluster: Cluster) -> None:
    async with await SharedClient.connect(cluster.url) as client:
        for name in NAMES:
            async with (
                Queue[Any, Any](name, connection=cluster.url, compression="zstd") as queue,
                Producer[Any](name, client=client, compression="gzip") as producer,
                Worker[Any, Any](name, answer, connection=cluster.url, client=client),
            ):
                assert await queue.add_and_wait("n", {"a": 1}) == {"answer": {"a": 1}}
                with pytest.raises(JobFailedError, match="nothing to answer"):
                    await queue.add_and_wait("n", None)
                job_id = await producer.add("n", 5)
                assert job_id is not None
                job = await queue.get_job(job_id)
                assert job is not None
                assert await job.wait_until_finished(poll=0.01) == "completed"
    owners = {cluster.primary_of(QueueKeys("glide", name).meta) for name in NAMES}
    assert owners == set(cluster.primaries)


async def test_steering_queues_on_every_node_through_one_client(cluster: Cluster) -> None:
    async with await SharedClient.connect(cluster.url) as client:
        queues = [Queue[Any, Any](f"steered-{name}", client=client) for name in NAMES]

        async def steer(queue: Queue[Any, Any]) -> None:
            await queue.set_global_rate_limit({"max": 5, "duration": 1})
            first, *_ = await queue.add_bulk([("n", number) for number in range(20)])
            assert await queue.revoke(first.id) == "revoked"
            assert await queue.retry_jobs() == 1
            assert await queue.get_global_rate_limit() == RateLimit(5, 1.0)
            await queue.upsert_job_scheduler("tick", {"every": 60})
            assert [job.name for job in await queue.get_repeatable_jobs()] == ["tick"]
            assert await queue.drain(delayed=True) >= 19
            assert await queue.count() == 0
            await queue.obliterate()

        await asyncio.gather(*(steer(queue) for queue in queues))
