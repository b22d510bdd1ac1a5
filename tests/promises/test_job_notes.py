"""What a running job writes down about itself is seen by others at once, and stays: log, progress, changed data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from glidemq import JobNotFoundError, ProgressEvent, Queue, QueueEvents, ValidationError
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer

APP = "tests.promises.basics_app:app"

AnyQueue = Queue[Any, Any]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_notes_of_actor_processes_are_kept_in_order(
    launch: Callable[..., Runtime], own_server: ValkeyServer, kind: str
) -> None:
    await launch(APP, "--procs", "2").ready()
    name = f"{kind}-notes"
    async with (
        AnyQueue(name, connection=own_server.url) as queue,
        QueueEvents(name, connection=own_server.url) as events,
    ):
        told: list[Any] = []
        job = await queue.add("page", {"url": "a"})
        assert job is not None
        async for event in events:
            if isinstance(event, ProgressEvent):
                told.append(event.data)
            elif event.name == "completed":
                break
        await job.refresh()
        assert told == [50, {"pages": [1, 2]}]
        assert job.progress == {"pages": [1, 2]}
        assert job.data == {"url": "a", "seen": True}
        # In its processor the job had the new data as soon as it was written; `log` counts the lines.
        assert job.return_value == [{"url": "a", "seen": True}, [1, 2, 3]]
        logs = await queue.get_job_logs(job.id)
        assert (logs.logs, logs.count) == (["page 0", "page 1", "page 2"], 3)
        assert (await queue.get_job_logs(job.id, -1, -1)).logs == ["page 2"]


async def test_notes_are_limited_in_size_and_need_a_job(server: ValkeyServer, queue_name: str) -> None:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        job = await queue.add("n", {"small": True})
        assert job is not None
        large = "x" * (1 << 20)
        with pytest.raises(ValidationError, match=r"^Log message exceeds maximum size"):
            await job.log(large + "x")
        with pytest.raises(ValidationError, match=r"exceeds maximum size \(1048578 bytes > 1048576 bytes\)"):
            await job.update_data(large)
        with pytest.raises(ValidationError, match=r"exceeds maximum size"):
            await job.update_progress({"text": large})
        stored = await queue.get_job(job.id)
        assert stored is not None and stored.data == {"small": True}
        await job.remove()
        with pytest.raises(JobNotFoundError):
            await job.update_data({"small": False})
        with pytest.raises(JobNotFoundError):
            await job.update_progress(1)
        with pytest.raises(JobNotFoundError):
            await job.log("nobody reads this")
        assert (await queue.get_job_logs(job.id)).logs == []
