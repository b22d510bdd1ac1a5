"""Batch processors of both kinds, which do what the data of their jobs says."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from glidemq import (
    App,
    Batch,
    BatchError,
    DelayedError,
    DetourError,
    Job,
    RateLimitError,
    SuspendError,
    SyncJob,
    WaitingChildrenError,
    limits,
)

app = App()


def answers(jobs: Any) -> list[dict[str, Any]]:
    """With whom each job ran: the ids of its batch."""
    together = [job.id for job in jobs]
    if any(job.data.get("fatal") for job in jobs):
        os.kill(os.getpid(), signal.SIGKILL)
    if any("fails" in job.data for job in jobs):
        raise BatchError(
            [ValueError(job.data["fails"]) if "fails" in job.data else {"with": together} for job in jobs]
        )
    return [{"with": together, "pid": os.getpid()} for _ in jobs]


def ignore_everything() -> None:
    """What native code does that never comes back."""
    while True:
        try:
            while True:
                time.sleep(1)
        except BaseException:
            pass


@app.processor("sync-batches", batch=Batch(10, timeout=0.2))
def process(jobs: list[SyncJob[Any, Any]]) -> list[Any]:
    jobs[0].update_progress(len(jobs))
    if any(job.data.get("stubborn") for job in jobs):
        ignore_everything()
    for job in jobs:
        time.sleep(job.data.get("seconds", 0))
    return answers(jobs)


@app.processor("async-batches", batch=Batch(10, timeout=0.2), concurrency=2)
async def process_async(jobs: list[Job[Any, Any]]) -> list[Any]:
    await jobs[0].update_progress(len(jobs))
    await asyncio.gather(*(asyncio.sleep(job.data.get("seconds", 0)) for job in jobs))
    return answers(jobs)


@app.processor("sync-patient", batch=Batch(10, timeout=3600))
def process_patiently(jobs: list[SyncJob[Any, Any]]) -> list[Any]:
    return answers(jobs)


@app.processor("async-patient", batch=Batch(10, timeout=3600))
async def process_patiently_async(jobs: list[Job[Any, Any]]) -> list[Any]:
    return answers(jobs)


@app.processor("sync-single")
def process_one(job: SyncJob[Any, Any]) -> int:
    return os.getpid()


def request_for(job: Any) -> Exception | None:
    """What the first run of a job with this name returns in place of a result, so that it runs again."""
    match job.name:
        case "returns SuspendError":
            return SuspendError("in a batch")
        case "returns DelayedError":
            return DelayedError(time.time() + 0.05)
        case "returns RateLimitError":
            return RateLimitError(0.05)
        case "returns WaitingChildrenError":
            return WaitingChildrenError()
        case "fails":
            return ValueError("fails")
        case _:
            return None


@app.processor("sync-detours", batch=Batch(10, timeout=0.2))
def take_detours(jobs: list[SyncJob[Any, int]]) -> list[Any]:
    """Each job does what its name says in its first run, and returns the number of its run in later ones."""
    ends: list[Any] = []
    for job in jobs:
        runs = job.data + 1
        job.update_data(runs)
        try:
            if runs == 1 and job.name == "calls suspend":
                job.suspend(reason="in a batch")
            if runs == 1 and job.name == "calls move_to_delayed":
                job.move_to_delayed(time.time() + 0.05)
        except DetourError as request:
            ends.append(request)
            continue
        ends.append((request_for(job) if runs == 1 else None) or runs)
    if all(job.name == "raises SuspendError" for job in jobs) and 1 in ends:
        raise SuspendError("all of us")
    return ends


@app.processor("async-detours", batch=Batch(10, timeout=0.2))
async def take_detours_async(jobs: list[Job[Any, int]]) -> list[Any]:
    ends: list[Any] = []
    for job in jobs:
        runs = job.data + 1
        await job.update_data(runs)
        try:
            if runs == 1 and job.name == "calls suspend":
                await job.suspend(reason="in a batch")
            if runs == 1 and job.name == "calls move_to_delayed":
                await job.move_to_delayed(time.time() + 0.05)
        except DetourError as request:
            ends.append(request)
            continue
        ends.append((request_for(job) if runs == 1 else None) or runs)
    if all(job.name == "raises SuspendError" for job in jobs) and 1 in ends:
        raise SuspendError("all of us")
    return ends


def provider_of(queue: str) -> str:
    """The limit key that its batches tell of; no queue goes by it."""
    return f"what {queue} calls"


@app.processor("sync-calls", batch=Batch(10, timeout=0.2))
def call_models(jobs: list[SyncJob[Any, int]]) -> list[int]:
    """Each job uses, streams and stores what its data says; a job with children returns their sum."""
    limits.observe(provider_of(jobs[0].queue_name), retry_after=600)
    ends: list[int] = []
    for job in jobs:
        if job.name == "sum":
            ends.append(sum(job.get_children_values().values()))
            continue
        job.report_usage(model="m", tokens={"output": job.data})
        for number in range(job.data):
            job.stream({"t": str(number)})
        job.store_vector("embedding", [1.0, float(job.data)])
        ends.append(job.data)
    return ends


@app.processor("async-calls", batch=Batch(10, timeout=0.2))
async def call_models_async(jobs: list[Job[Any, int]]) -> list[int]:
    await limits.observe(provider_of(jobs[0].queue_name), retry_after=600)
    return list(await asyncio.gather(*(call_model(job) for job in jobs)))


async def call_model(job: Job[Any, int]) -> int:
    if job.name == "sum":
        return sum((await job.get_children_values()).values())
    await job.report_usage(model="m", tokens={"output": job.data})
    for number in range(job.data):
        await job.stream({"t": str(number)})
    await job.store_vector("embedding", [1.0, float(job.data)])
    return job.data
