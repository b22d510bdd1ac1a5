"""Parents and children for queues that the test names, by coroutines and by plain functions of the same deeds."""

from __future__ import annotations

import asyncio
from typing import Any

from glidemq import App, Job, ParentJob, Queue, SyncJob
from tests.cluster.app import PLAIN_QUEUES_VARIABLE, QUEUES_VARIABLE, named_by


async def add_children(job: Job[Any, Any] | SyncJob[Any, Any]) -> None:
    """Three of them, in the queue that the data names; `url` where the surroundings name no server."""
    async with Queue[Any, Any](job.data["queue"], connection=job.data.get("url")) as children:
        for number in range(3):
            await children.add("n", number, parent=ParentJob(job.queue_name, job.id))


async def work(job: Job[Any, Any]) -> Any:
    if job.name == "bad":
        raise RuntimeError("no good")
    if job.name == "adds":
        values = await job.get_children_values()
        if not values:
            await add_children(job)
            await job.move_to_waiting_children()
        return sum(values.values())
    if job.name == "call":
        await job.report_usage(model="m", tokens={"output": job.data})
    if job.name == "sum":
        return sum((await job.get_children_values()).values())
    if job.name == "tell":
        values, failures = await job.get_children_values(), await job.get_failed_children_values()
        return [list(values.values()), list(failures.values())]
    return job.data


def work_plainly(job: SyncJob[Any, Any]) -> Any:
    if job.name == "bad":
        raise RuntimeError("no good")
    if job.name == "adds":
        values = job.get_children_values()
        if not values:
            asyncio.run(add_children(job))
            job.move_to_waiting_children()
        return sum(values.values())
    if job.name == "call":
        job.report_usage(model="m", tokens={"output": job.data})
    if job.name == "sum":
        return sum(job.get_children_values().values())
    if job.name == "tell":
        values, failures = job.get_children_values(), job.get_failed_children_values()
        return [list(values.values()), list(failures.values())]
    return job.data


app = App()
for name in filter(None, named_by(QUEUES_VARIABLE)):
    app.processor(name, concurrency=4)(work)
for name in filter(None, named_by(PLAIN_QUEUES_VARIABLE)):
    app.processor(name)(work_plainly)
