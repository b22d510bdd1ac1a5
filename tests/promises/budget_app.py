"""Processors that use tokens, in actor processes of both kinds; roots and calls live in queues of their own."""

from __future__ import annotations

from typing import Any

from glidemq import App, Job, SyncJob
from tests.promises.model_calls_app import crashed, kill_own_process
from tests.testkit.effects import EffectsWriter

app = App()
effects = EffectsWriter()


def dies(job: Any) -> bool:
    return bool(job.data.get("die")) and not crashed(job)


@app.processor("sync-budget")
def call(job: SyncJob[dict[str, Any], int]) -> int:
    """Use `data["tokens"]`, and die of it the first time if it says so; a root uses nothing."""
    effects.started(job)
    tokens: int = job.data.get("tokens", 0)
    if tokens:
        job.report_usage(model="m", tokens={"output": tokens})
    if dies(job):
        kill_own_process()
    effects.finished(job)
    return tokens


@app.processor("async-budget", concurrency=20)
async def call_async(job: Job[dict[str, Any], int]) -> int:
    effects.started(job)
    tokens: int = job.data.get("tokens", 0)
    if tokens:
        await job.report_usage(model="m", tokens={"output": tokens})
    if dies(job):
        kill_own_process()
    effects.finished(job)
    return tokens
