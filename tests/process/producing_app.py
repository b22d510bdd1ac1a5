"""Processors that add jobs, with a queue that names no server."""

from __future__ import annotations

import asyncio
from typing import Any

from glidemq import App, Job, Queue, SyncJob

app = App()


async def add_to(queue_name: str, count: int) -> list[str]:
    async with Queue[Any, Any](queue_name) as queue:
        jobs = await queue.add_bulk([("made", {"number": number}) for number in range(count)])
        return [job.id for job in jobs]


@app.processor("sync-producer")
def produce(job: SyncJob[Any, Any]) -> list[str]:
    return asyncio.run(add_to(job.data["queue"], job.data["count"]))


@app.processor("async-producer", concurrency=4)
async def produce_async(job: Job[Any, Any]) -> list[str]:
    return await add_to(job.data["queue"], job.data["count"])


async def read_back(queue_name: str) -> list[int]:
    async with Queue[Any, Any](queue_name) as queue:
        return [len(job.data) for job in await queue.get_jobs("waiting")]


@app.processor("sync-reader", timeout=10)
def read(job: SyncJob[Any, Any]) -> list[int]:
    return asyncio.run(read_back(job.data["queue"]))


@app.processor("async-reader", timeout=10)
async def read_async(job: Job[Any, Any]) -> list[int]:
    return await read_back(job.data["queue"])
