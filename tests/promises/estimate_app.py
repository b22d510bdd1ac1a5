"""Processors that use tokens and money of several categories, in actor processes of both kinds."""

from __future__ import annotations

from typing import Any

from glidemq import App, Job, SyncJob
from tests.promises.model_calls_app import crashed, kill_own_process

app = App()

# What a silent job of `assumed` uses.
TOKENS, COSTS = {"output": 20}, {"output": 0.1}


class FirstTryError(Exception):
    """The first attempt fails after it has used something."""


@app.processor("sync-spend")
def spend(job: SyncJob[dict[str, Any], None]) -> None:
    """Use what `data` says, in two reports, and fail or die of it the first time if it says so; a root uses nothing."""
    for part in job.data.get("parts", ()):
        job.report_usage(model="m", **part)
    end(job)


@app.processor("async-spend", concurrency=20)
async def spend_async(job: Job[dict[str, Any], None]) -> None:
    for part in job.data.get("parts", ()):
        await job.report_usage(model="m", **part)
    end(job)


def end(job: Any) -> None:
    if job.data.get("end") == "dies" and not crashed(job):
        kill_own_process()
    if job.data.get("end") == "fails" and job.attempts_made == 0:
        raise FirstTryError


@app.processor("assumed", concurrency=20, estimated_tokens=TOKENS, estimated_cost=COSTS)
async def spend_as_assumed(job: Job[None, None]) -> None:
    await job.report_usage(model="m", tokens=TOKENS, costs=COSTS)
