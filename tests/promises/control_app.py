"""Processors that do what their job's data says, in actor processes of both kinds; they write down when they ran."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from glidemq import App, DelayedError, GroupRateLimitError, Job, RateLimit, RateLimitError, SyncJob
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


@app.processor("sync-steps")
def take_steps(job: SyncJob[Any, Any]) -> list[str]:
    """Three steps, with a wait after the first two: by the method, then by the error."""
    effects.started(job)
    step = job.data.get("step", "first")
    job.log(step)
    if step == "first":
        job.move_to_delayed(time.time() + job.data["wait"], next_step="second")
    if is_first(f"second-{job.id}"):
        raise DelayedError(datetime.now(UTC) + timedelta(seconds=job.data["wait"]))
    return [step, job.data["order"]]


@app.processor("async-steps", concurrency=4)
async def take_steps_async(job: Job[Any, Any]) -> list[str]:
    effects.started(job)
    step = job.data.get("step", "first")
    await job.log(step)
    if step == "first":
        await job.move_to_delayed(time.time() + job.data["wait"], next_step="second")
    if is_first(f"second-{job.id}"):
        raise DelayedError(datetime.now(UTC) + timedelta(seconds=job.data["wait"]))
    return [step, job.data["order"]]


@app.processor("sync-calls")
def call(job: SyncJob[Any, Any]) -> int:
    """The job named "limited" hits the limit of what it calls, in its first run."""
    effects.started(job)
    if job.name == "limited" and is_first(f"limited-{job.id}"):
        raise RateLimitError(job.data["retry_after"])
    return job.attempts_made


@app.processor("async-calls", concurrency=2)
async def call_async(job: Job[Any, Any]) -> int:
    effects.started(job)
    if job.name == "limited" and is_first(f"limited-{job.id}"):
        raise RateLimitError(job.data["retry_after"])
    return job.attempts_made


@app.processor("sync-limited", limiter=RateLimit(max=3, duration=0.5))
def start_limited(job: SyncJob[Any, Any]) -> None:
    effects.started(job)


@app.processor("async-limited", concurrency=8, limiter={"max": 3, "duration": 0.5})
async def start_limited_async(job: Job[Any, Any]) -> None:
    effects.started(job)


@app.processor("sync-long")
def run_long(job: SyncJob[Any, Any]) -> str:
    """Runs until its abort signal is set; a stubborn job, for ever."""
    effects.started(job)
    while job.data.get("stubborn") or not job.abort_signal.aborted:
        time.sleep(0.01)
    effects.finished(job)
    return "too late"


@app.processor("async-long", concurrency=4)
async def run_long_async(job: Job[Any, Any]) -> str:
    effects.started(job)
    try:
        if job.data.get("stubborn"):
            await asyncio.sleep(3600)
        await job.abort_signal.wait()
    finally:
        effects.finished(job)
    return "too late"


@app.processor("sync-ordered")
def run_ordered(job: SyncJob[Any, Any]) -> None:
    effects.started(job)
    time.sleep(job.data["takes"])
    effects.finished(job)


@app.processor("async-ordered", concurrency=8)
async def run_ordered_async(job: Job[Any, Any]) -> None:
    effects.started(job)
    await asyncio.sleep(job.data["takes"])
    effects.finished(job)
