"""Processors that pretend to call models: they report, stream and fail as their job's data tells."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from glidemq import App, Job, SyncJob

app = App()


def kill_own_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.processor("sync-usage")
def report(job: SyncJob[Any, Any]) -> int:
    """Report what `data[attempt]` says; a `fail` beside it ends the attempt, a `die` the process."""
    step = job.data[job.attempts_made]
    if step.get("die") and not job.stalled_count and not crashed(job):
        job.report_usage(**step["usage"])
        kill_own_process()
    job.report_usage(**step["usage"])
    if step.get("fail"):
        raise ValueError(step["fail"])
    return os.getpid()


@app.processor("async-usage")
async def report_async(job: Job[Any, Any]) -> int:
    step = job.data[job.attempts_made]
    await job.report_usage(**step["usage"])
    if step.get("fail"):
        raise ValueError(step["fail"])
    return os.getpid()


def crashed(job: Any) -> bool:
    """Whether an earlier run of the job has taken its process with it."""
    return "x-py:crashes" in job._fields


@app.processor("sync-streams")
def stream(job: SyncJob[Any, Any]) -> str:
    """Put out `chunks` numbered chunks; the first attempt fails half-way if `fails`."""
    for number in range(job.data["chunks"]):
        if job.data.get("fails") and job.attempts_made == 0 and number == job.data["chunks"] // 2:
            raise ValueError("half-way")
        job.stream({"t": str(number)})
    return job.stream_chunk("done")


@app.processor("async-streams", concurrency=100)
async def stream_async(job: Job[Any, Any]) -> str:
    """As `stream`; where the data says `stays`, it ends half-way with its process, and again from there on."""
    for number in range(job.data["chunks"]):
        if job.data.get("fails") and job.attempts_made == 0 and number == job.data["chunks"] // 2:
            raise ValueError("half-way")
        if job.data.get("stays") and not crashed(job) and number == job.data["chunks"] // 2:
            await asyncio.Event().wait()
        await job.stream({"t": str(number)})
    return await job.stream_chunk("done")


class RateLimitedError(Exception):
    """What a provider says that has had enough."""


class TooManyTokensError(RateLimitedError):
    """A kind of it."""


class OverloadedError(Exception):
    """What a provider says that is broken."""


ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (RateLimitedError, TooManyTokensError, OverloadedError)
}


def model_of(job: Any) -> str:
    fallback = job.current_fallback
    return fallback.model if fallback is not None else "primary"


@app.processor("sync-fallbacks")
def fall_back(job: SyncJob[Any, Any]) -> str:
    """Log which model it is that is called, and fail as `data[attempt]` says."""
    job.log(model_of(job))
    for error in job.data[job.attempts_made : job.attempts_made + 1]:
        raise ERRORS[error]("as told")
    return model_of(job)


@app.processor("async-fallbacks")
async def fall_back_async(job: Job[Any, Any]) -> str:
    await job.log(model_of(job))
    for error in job.data[job.attempts_made : job.attempts_made + 1]:
        raise ERRORS[error]("as told")
    return model_of(job)
