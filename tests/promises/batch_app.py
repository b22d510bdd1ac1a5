"""Batch processors of both kinds, which do what the data of their jobs says."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from glidemq import App, Batch, BatchError, Job, SyncJob

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
