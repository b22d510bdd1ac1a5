"""Processors that do what their job's data says, in actor processes of both kinds; they write down when they ran."""

from __future__ import annotations

from typing import Any

from glidemq import App, GroupRateLimitError, Job, SyncJob
from tests.testkit.effects import EffectsWriter, is_first

app = App()
effects = EffectsWriter()


@app.processor("sync-groups")
def pause_group(job: SyncJob[Any, Any]) -> str:
    """In its first run a job pauses its group as `how` says: by the method or by raising."""
    effects.started(job)
    how = job.data.get("how")
    if how and is_first(f"{job.queue_name}-{job.id}"):
        if how == "raise":
            raise GroupRateLimitError(job.data["pause"])
        job.rate_limit_group(job.data["pause"])
        return "void"
    effects.finished(job)
    return "done"


@app.processor("async-groups", concurrency=8)
async def pause_group_async(job: Job[Any, Any]) -> str:
    effects.started(job)
    how = job.data.get("how")
    if how and is_first(f"{job.queue_name}-{job.id}"):
        if how == "raise":
            raise GroupRateLimitError(job.data["pause"])
        await job.rate_limit_group(job.data["pause"])
        return "void"
    effects.finished(job)
    return "done"
