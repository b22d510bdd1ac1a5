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


@app.processor("sync-resumed")
def resume(job: SyncJob[Any, Any]) -> Any:
    """Its first run waits for a signal, and says what is to be done then; no other run would return anything."""

    def go_on(signals: Any) -> Any:
        job.log("resumed")
        if len(signals) < job.data:
            job.suspend(on_resume=go_on)
        return [signal.name for signal in signals]

    if not job.signals:
        job.suspend(on_resume=go_on)


@app.processor("async-resumed", timeout=30)
async def resume_async(job: Job[Any, Any]) -> Any:
    async def go_on(signals: Any) -> Any:
        await job.log("resumed")
        if len(signals) < job.data:
            raise SuspendError("more", on_resume=go_on)
        return [signal.name for signal in signals]

    if not job.signals:
        await job.suspend(on_resume=go_on)


@app.processor("async-approvals", concurrency=4)
async def ask_async(job: Job[Any, Any]) -> Any:
    effects.started(job)
    if not job.signals:
        if job.data["how"] == "raise":
            raise SuspendError("approval", job.data["timeout"])
        await job.suspend(reason="approval", timeout=job.data["timeout"])
    effects.finished(job)
    return [[signal.name, signal.data] for signal in job.signals]
