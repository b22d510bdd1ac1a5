"""Processors that wait for a signal, in actor processes of both kinds; they write down when they ran."""

from __future__ import annotations

from typing import Any

from glidemq import App, Job, SuspendError, SyncJob
from tests.testkit.effects import EffectsWriter

app = App()
effects = EffectsWriter()


@app.processor("sync-approvals")
def ask(job: SyncJob[Any, Any]) -> Any:
    """Asks once for an approval, by the method or by raising as `how` says, and returns what it was told."""
    effects.started(job)
    if not job.signals:
        if job.data["how"] == "raise":
            raise SuspendError("approval", job.data["timeout"])
        job.suspend(reason="approval", timeout=job.data["timeout"])
    effects.finished(job)
    return [[signal.name, signal.data] for signal in job.signals]


@app.processor("async-approvals", concurrency=4)
async def ask_async(job: Job[Any, Any]) -> Any:
    effects.started(job)
    if not job.signals:
        if job.data["how"] == "raise":
            raise SuspendError("approval", job.data["timeout"])
        await job.suspend(reason="approval", timeout=job.data["timeout"])
    effects.finished(job)
    return [[signal.name, signal.data] for signal in job.signals]
