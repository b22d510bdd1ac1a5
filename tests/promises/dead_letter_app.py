"""Processors that fail as their jobs' data says, for queues with dead letter queues."""

from __future__ import annotations

import os
import signal
from typing import Any

from glidemq import App, DeadLetterQueue, Job, SyncJob, UnrecoverableError

app = App()


def act(data: Any) -> str:
    match data.get("do"):
        case "raise":
            raise ValueError(f"no such order: {data.get('order', 1)}")
        case "give up":
            raise UnrecoverableError("hopeless")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "loop":
            while True:
                pass
        case _:
            return "done"
    return "survived"


@app.processor("sync-orders", dead_letter_queue=DeadLetterQueue("sync-orders-dead", max_retries=1))
def order(job: SyncJob[Any, Any]) -> str:
    return act(job.data)


@app.processor("async-orders", concurrency=5, dead_letter_queue="async-orders-dead")
async def order_async(job: Job[Any, Any]) -> str:
    return act(job.data)
