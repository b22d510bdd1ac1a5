"""Processors whose first run lasts until a gate opens; they write down when they ran."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from glidemq import App, Job, SyncJob
from tests.testkit.effects import EffectsWriter, gate_is_open

app = App()
effects = EffectsWriter()


@app.processor("sync-locks")
def hold(job: SyncJob[Any, Any]) -> str:
    """Computes without a pause, as long as its data says and until the gate is open."""
    effects.started(job)
    until = time.monotonic() + job.data["seconds"]
    while time.monotonic() < until or not gate_is_open("end"):
        sum(range(1000))
    effects.finished(job)
    return "done"


@app.processor("async-locks", concurrency=4)
async def hold_async(job: Job[Any, Any]) -> str:
    effects.started(job)
    await asyncio.sleep(job.data["seconds"])
    while not gate_is_open("end"):
        await asyncio.sleep(0.01)
    effects.finished(job)
    return "done"
