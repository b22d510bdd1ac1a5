"""Sends function calls to a cluster: those of one queue together, those of different queues apart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from glidemq.connection.fcall_pipeline import FcallPipeline

if TYPE_CHECKING:
    from glidemq.connection.glide_client import GlideApi

# Idle pipelines are dropped beyond this many.
MAX_PIPELINES = 1_000


class QueuePipelines:
    """A pipeline for each queue of a cluster.

    A batch is answered as a whole: one that spans nodes waits for the slowest of them. With one of three primaries
    frozen, calls to the others took 2-4 s in common batches and 3 ms by themselves.
    Owns: the pipelines. Stops when: the client closes.
    """

    def __init__(self, client: GlideApi) -> None:
        self._client = client
        self._pipelines: dict[str, FcallPipeline] = {}
        self._dropped_requests = 0

    @property
    def requests(self) -> int:
        """Requests sent so far: fewer than calls."""
        return self._dropped_requests + sum(pipeline.requests for pipeline in self._pipelines.values())

    def submit(self, function: str, key: str, arguments: bytes, give_up_at: float) -> asyncio.Future[bytes]:
        """Queue one call; see `FcallPipeline.submit`."""
        pipeline = self._pipelines.get(key)
        if pipeline is None:
            if len(self._pipelines) >= MAX_PIPELINES:
                self._drop_idle()
            pipeline = self._pipelines[key] = FcallPipeline(self._client, cluster=True)
        return pipeline.submit(function, key, arguments, give_up_at)

    def _drop_idle(self) -> None:
        for key, pipeline in list(self._pipelines.items()):
            if pipeline.idle:
                self._dropped_requests += pipeline.requests
                del self._pipelines[key]
