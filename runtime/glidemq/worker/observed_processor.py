"""A processor that tells a worker's events when its jobs start and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from glidemq.commands.command import unpack
from glidemq.connection.connection import Connection
from glidemq.job import Job
from glidemq.job.record import In, Out
from glidemq.payload import Payload
from glidemq.pipeline.batch_execution import ends_of
from glidemq.pipeline.lease import Lease
from glidemq.processor import Processor
from glidemq.worker.worker_events import WorkerEvents


def observed(
    processor: Processor[In, Out],
    events: WorkerEvents,
    on_start: Callable[[], None],
    queue_key: str,
    connection: Connection,
) -> Processor[In, Out]:
    """The same processor, told about. To be called in the loop of the worker; `on_start` is called in it too.

    queue_key, connection: for jobs that never reach the processor.
    """
    payload = Payload(processor.serializer)

    def job_of(lease: Lease) -> Job[Any, Any]:
        return Job[Any, Any].from_activation(
            unpack(lease.blob), queue_key=queue_key, connection=connection, payload=payload
        )

    events.job_of = job_of
    function = processor.function
    in_batches = processor.batch is not None
    loop = asyncio.get_running_loop()

    def note_start(given: Any) -> None:
        on_start()
        for job in given if in_batches else (given,):
            events.started(job)

    def note_end(given: Any, end: Any) -> None:
        if not in_batches:
            events.ended(given, end)
            return
        for job, its_end in zip(given, ends_of(end, len(given)), strict=True):
            events.ended(job, its_end)

    async def run_async(given: Any) -> Any:
        note_start(given)
        try:
            result = await function(given)
        except BaseException as error:
            note_end(given, error)
            raise
        note_end(given, result)
        return result

    def run_sync(given: Any) -> Any:
        loop.call_soon_threadsafe(note_start, given)
        try:
            result = function(given)
        except BaseException as error:
            note_end(given, error)
            raise
        note_end(given, result)
        return result

    told = replace(processor, function=run_async if processor.role == "async" else run_sync)
    # What data becomes is said by the annotation of the user's function, not by that of its wrapper.
    told.__dict__["payload"] = processor.payload
    return told
