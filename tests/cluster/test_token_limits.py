"""Queues in different slots share one limit key, whose windows and observations live in a slot of their own."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

from glidemq import Job, Queue, TokenLimiter, Worker, limits
from glidemq.commands.keys import limit_meta_key
from tests.testkit.cluster import Cluster
from tests.testkit.waiting import eventually

MAX = 500
JOBS = 24


async def process(job: Job[Any, None]) -> None:
    await job.report_tokens(50)


async def completed(*queues: Queue[Any, Any]) -> int:
    return sum([(await queue.get_job_counts())["completed"] for queue in queues])


async def test_one_limit_key_holds_for_queues_of_several_nodes(cluster: Cluster) -> None:
    run = uuid.uuid4().hex[:6]
    names = [f"limited-{run}-{number}" for number in range(6)]
    key = f"provider-{run}"
    queues = [Queue[Any, Any](name, connection=cluster.url) for name in names]
    nodes = {cluster.primary_of(queue.keys.meta) for queue in queues}
    assert len(nodes | {cluster.primary_of(limit_meta_key("glide", key))}) > 1
    limiter = TokenLimiter(MAX, 1)
    workers = [
        Worker(
            name, process, connection=cluster.url, concurrency=5, token_limiter=limiter, estimated_tokens=50,
            limit_key=key,
        )
        for name in names[:2]
    ]  # fmt: skip
    for queue in queues[:2]:
        await queue.add_bulk([("use", {}) for _ in range(JOBS)])
    for worker in workers:
        await worker.start()

    async def all_done() -> bool:
        return await completed(*queues[:2]) == 2 * JOBS

    await eventually(all_done, "all are completed")
    windows: Counter[int] = Counter()
    for queue in queues[:2]:
        for job in await queue.get_jobs("completed", 0, -1):
            assert job.processed_on is not None
            windows[int(job.processed_on.timestamp())] += 50
    assert max(windows.values()) <= MAX
    for closable in (*workers, *queues):
        await closable.close()


async def test_observation_holds_back_a_queue_of_another_slot(cluster: Cluster) -> None:
    run = uuid.uuid4().hex[:6]
    key = f"provider-{run}"

    async def ask(job: Job[Any, None]) -> None:
        await limits.observe(key, retry_after=job.data)

    async with Queue[Any, Any](f"asking-{run}", connection=cluster.url) as queue:
        async with Worker(queue.name, ask, connection=cluster.url, limit_key=key):
            first = await queue.add("ask", 2.5)

            async def done(number: int) -> bool:
                return await completed(queue) == number

            await eventually(lambda: done(1), "the first has observed")
            second = await queue.add("ask", None, delay=1)
            await eventually(lambda: done(2), "the second was let start")
        assert first is not None and second is not None
        await first.refresh()
        await second.refresh()
        assert first.processed_on is not None and second.processed_on is not None
        assert (second.processed_on - first.processed_on).total_seconds() >= 2.5
