"""The main cases of what jobs that call models report and put out, in a cluster; see `features`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from glidemq import Fallback, Queue, get_usage_summary
from tests.cluster.scene import Scene


async def usage_of_jobs(scene: Scene) -> None:
    """The names of the queues that have reported lie in another slot than the queue, and so may a child."""
    async with Queue[Any, Any](f"{scene.queue.name}-child", connection=scene.url) as other:
        root = await scene.queue.add("call_model", None, attempts=2)
        child = await other.add("call_model", None)
        assert root is not None
        assert child is not None
        await scene.work()
        await scene.ended(1)
        await child.report_usage(model="child", tokens={"output": 1}, cost_unit="usd")
        job = await scene.job(root.id)
        assert (job.usage.total_tokens, job.usage.total_cost, job.usage.model) == (20, 1, "primary")
        summary = await get_usage_summary(connection=scene.url)
        assert {scene.queue.name, other.name} <= set(summary.queues)
        assert summary.per_queue[scene.queue.name].total_tokens == 20
        assert (await scene.queue.get_usage_summary(queues=[other.name])).total_tokens == 1
        await other.obliterate(force=True)


async def token_stream(scene: Scene) -> None:
    ids = [await scene.add("call_model", attempts=2) for _ in range(30)]
    await scene.work()
    for job_id in ids:
        entries = [entry async for entry in scene.queue.stream(job_id)]
        assert [(entry.attempt, entry.fields["t"]) for entry in entries] == [
            (attempt, str(number)) for attempt in (1, 2) for number in range(20)
        ]


async def fallbacks(scene: Scene) -> None:
    chain = [Fallback("no", on=("ValueError",)), Fallback("second", on=("RuntimeError",))]
    job_id = await scene.add("call_model", attempts=2, fallbacks=chain)
    await scene.work()
    await scene.ended(1)
    assert await scene.result(job_id) == "second"


MODEL_CALLS: list[Callable[[Scene], Awaitable[None]]] = [usage_of_jobs, token_stream, fallbacks]
