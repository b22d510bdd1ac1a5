"""A program that works until it is told to end: `python -m tests.promises.shutdown_host <url> <queue>`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from glidemq import Job, Queue, SharedClient, Worker, graceful_shutdown


async def main(url: str, name: str) -> None:
    client = await SharedClient.connect(url)
    queue = Queue[Any, Any](name, client=client)
    results = Queue[Any, Any](f"{name}-results", client=client)

    async def process(job: Job[Any, Any]) -> str:
        print("started", flush=True)
        await job.log("running")
        # Runs on until it is told to go on, and needs a queue then.
        while not await results.get_job(f"go-{job.id}"):
            await asyncio.sleep(0.01)
        await results.add("result", job.data)
        return "done"

    worker = Worker[Any, Any](name, process, connection=url, client=client, concurrency=2)
    await worker.start()
    # The order given here is the wrong one on purpose.
    stopping = graceful_shutdown([client, queue, results, worker])
    print("ready", flush=True)
    await stopping
    print("closed", flush=True)


asyncio.run(main(*sys.argv[1:]))
