"""The main cases of what jobs that call models report and put out, in a cluster; see `features`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from glidemq import (
    Backoff,
    Budget,
    Fallback,
    FlowJob,
    FlowProducer,
    JobOptions,
    Queue,
    get_usage_summary,
)
from tests.cluster.scene import Scene
from tests.testkit.waiting import eventually


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
    await scene.ended(30)
    last = (await scene.queue.read_stream(ids[0]))[-1].id
    appended = await (await scene.job(ids[0])).stream({"t": "by somebody else"})
    (entry,) = await scene.queue.read_stream(ids[0], last_id=last, block=1)
    assert (entry.id, entry.fields) == (appended, {"t": "by somebody else"})


async def fallbacks(scene: Scene) -> None:
    chain = [Fallback("no", on=("ValueError",)), Fallback("second", on=("RuntimeError",))]
    job_id = await scene.add("call_model", attempts=2, fallbacks=chain)
    await scene.work()
    await scene.ended(1)
    assert await scene.result(job_id) == "second"


async def budget(scene: Scene) -> None:
    """The flow's root, and with it the budget, is in a queue that nobody serves, in another slot than its children."""
    opts: JobOptions = {"attempts": 2, "backoff": Backoff("at-once"), "estimated_tokens": 10}
    calls: list[FlowJob] = [
        {"name": "call_model", "queue_name": scene.queue.name, "opts": opts} for _ in range(4)
    ]
    async with (
        FlowProducer(connection=scene.url) as flows,
        Queue[Any, Any](f"{scene.queue.name}-root", connection=scene.url) as roots,
    ):
        node = await flows.add(
            {"name": "root", "queue_name": roots.name, "children": calls}, budget=Budget(max_total_tokens=45)
        )
        await scene.work()
        await scene.ended(4)
        reasons = [(await scene.job(child.job.id)).failed_reason for child in node.children]
        assert reasons.count("Budget exceeded") >= 2

        async def settled() -> bool:
            budget = await roots.get_flow_budget(node.job.id)
            return budget is not None and (budget.used_tokens, budget.reserved_tokens) == (40, 0)

        await eventually(settled, what="everything used is counted, and nothing reserved any more")
        await roots.obliterate(force=True)


MODEL_CALLS: list[Callable[[Scene], Awaitable[None]]] = [usage_of_jobs, token_stream, fallbacks, budget]
