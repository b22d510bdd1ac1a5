"""Parents and children in actor processes of both kinds; children live in queues of their own."""

from __future__ import annotations

import asyncio
from typing import Any

from glidemq import App, Job, ParentJob, Queue, SyncJob
from tests.testkit.effects import EffectsWriter

app = App()
effects = EffectsWriter()


async def add_children(job: Job[Any, Any] | SyncJob[Any, Any]) -> None:
    async with Queue[Any, Any](job.data["children"]) as children:
        parent = ParentJob(job.queue_name, job.id)
        for number in range(job.data["count"]):
            await children.add("square", number, parent=parent)


@app.processor("sync-parents")
def collect(job: SyncJob[Any, Any]) -> int:
    """Adds its own children in its first run if its data says so, and sums up what they return."""
    effects.started(job)
    values = job.get_children_values()
    if not values and job.data.get("children"):
        asyncio.run(add_children(job))
        job.move_to_waiting_children()
    effects.finished(job)
    return sum(values.values())


@app.processor("async-parents", concurrency=8)
async def collect_async(job: Job[Any, Any]) -> int:
    effects.started(job)
    values = await job.get_children_values()
    if not values and job.data.get("children"):
        await add_children(job)
        await job.move_to_waiting_children()
    effects.finished(job)
    return sum(values.values())


@app.processor("sync-children")
def square(job: SyncJob[Any, Any]) -> int:
    if job.data < 0:
        raise RuntimeError("imaginary")
    return int(job.data) ** 2


@app.processor("async-children", concurrency=8)
async def square_async(job: Job[Any, Any]) -> int:
    if job.data < 0:
        raise RuntimeError("imaginary")
    return int(job.data) ** 2
