"""Processors whose queue speaks MessagePack."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from glidemq import App, Job, SyncJob
from glidemq.examples.msgpack_serializer import MSGPACK_SERIALIZER

app = App(serializer=MSGPACK_SERIALIZER)


def answer(data: Any) -> Any:
    return {"length": len(data["blob"]), "later": data["at"] + timedelta(days=1), 1: data["blob"][::-1]}


@app.processor("sync-blobs")
def measure(job: SyncJob[Any, Any]) -> Any:
    job.update_progress({"read": job.data["blob"][:1]})
    return answer(job.data)


@app.processor("async-blobs")
async def measure_async(job: Job[Any, Any]) -> Any:
    await job.update_progress({"read": job.data["blob"][:1]})
    return answer(job.data)


@app.processor("mismatched")
async def mismatched(job: Job[Any, Any]) -> Any:
    return [job.data, job.deserialization_failed]
