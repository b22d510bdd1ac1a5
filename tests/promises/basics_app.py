"""Processors of both kinds that do what their job's data says: take notes, fail, answer."""

from __future__ import annotations

from typing import Any

from glidemq import App, Job, SyncJob, UnrecoverableError
from tests.testkit.effects import EffectsWriter, gate_is_open

app = App()
effects = EffectsWriter()


@app.processor("sync-order")
def take(job: SyncJob[Any, Any]) -> None:
    effects.started(job)
    while job.data == "gate" and not gate_is_open("order"):
        job.abort_signal.raise_if_aborted()
    effects.finished(job)


@app.processor("async-order")
async def take_async(job: Job[Any, Any]) -> None:
    effects.started(job)
    while job.data == "gate" and not gate_is_open("order"):
        await job.is_active()
    effects.finished(job)


@app.processor("sync-notes")
def note(job: SyncJob[Any, Any]) -> Any:
    lines = [job.log(f"{job.name} {number}") for number in range(3)]
    job.update_progress(50)
    job.update_progress({"pages": [1, 2]})
    job.update_data({**job.data, "seen": True})
    return [job.data, lines]


@app.processor("async-notes", concurrency=4)
async def note_async(job: Job[Any, Any]) -> Any:
    lines = [await job.log(f"{job.name} {number}") for number in range(3)]
    await job.update_progress(50)
    await job.update_progress({"pages": [1, 2]})
    await job.update_data({**job.data, "seen": True})
    return [job.data, lines]


def answer(job: SyncJob[Any, Any] | Job[Any, Any]) -> Any:
    """What the data says: fail so often, or in a way that ends all attempts; else give it back."""
    if job.data == "hopeless":
        raise UnrecoverableError("no answer, ever")
    if job.data == "discarded":
        job.discard()
        raise ValueError("no answer, and no other attempt")
    if isinstance(job.data, dict) and job.attempts_made < job.data.get("failures", 0):
        raise ValueError(f"failure {job.attempts_made + 1}")
    return {"answer": job.data}


@app.processor("sync-answers")
def give_answer(job: SyncJob[Any, Any]) -> Any:
    effects.started(job)
    return answer(job)


@app.processor("async-answers", concurrency=4)
async def give_answer_async(job: Job[Any, Any]) -> Any:
    effects.started(job)
    return answer(job)
