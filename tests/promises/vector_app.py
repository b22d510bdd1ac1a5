"""Processors of both kinds that store an embedding with their job."""

from __future__ import annotations

from typing import Any

from glidemq import App, Job, SyncJob

app = App()


@app.processor("sync-embeddings")
def embed(job: SyncJob[Any, Any]) -> str:
    job.store_vector("embedding", job.data["vector"], {"tenant": job.data["tenant"]})
    return "stored"


@app.processor("async-embeddings", concurrency=4)
async def embed_async(job: Job[Any, Any]) -> str:
    await job.store_vector("embedding", job.data["vector"], {"tenant": job.data["tenant"]})
    return "stored"
