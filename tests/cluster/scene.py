"""What a case of the cluster suite is played in: a queue of its own, and whoever processes it."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from glidemq import Queue
from tests.testkit.effects import History, Run
from tests.testkit.waiting import eventually


class Scene:
    """One queue on a cluster, paused until the case says `work`.

    Owns: the queue's handle. Read by: the cases in `features.py`.
    """

    def __init__(self, queue: Queue[Any, Any], url: str, history: History) -> None:
        self.queue = queue
        self.url = url
        self.gate = uuid.uuid4().hex
        """What jobs wait for whose data names it."""
        self._history = history
        self._began = time.monotonic()

    async def add(self, deed: str, data: Any = None, **options: Any) -> str:
        """Add a job that does this (`app.py` has the deeds); its id."""
        job = await self.queue.add(deed, data, **options)
        assert job is not None
        return job.id

    async def work(self) -> None:
        """Let the queue be processed from now on."""
        await self.queue.resume()

    async def ended(self, count: int) -> None:
        """Wait until so many jobs have completed or failed."""

        async def so_many() -> bool:
            counts = await self.queue.get_job_counts()
            return counts["completed"] + counts["failed"] >= count

        await eventually(so_many, f"{count} jobs of {self.queue.name} end")

    async def started(self, count: int) -> list[str]:
        """Wait until jobs have started so many times; their ids, in that order."""
        await eventually(lambda: len(self.runs()) >= count, f"{count} starts in {self.queue.name}")
        return [run.id for run in self.runs()]

    def runs(self) -> list[Run]:
        return [run for run in self._history.runs(self.queue.name) if run.at > self._began]

    def open_gate(self) -> None:
        self._history.open_gate(self.gate)

    async def job(self, job_id: str) -> Any:
        found = await self.queue.get_job(job_id)
        assert found is not None
        return found

    async def result(self, job_id: str) -> Any:
        return (await self.job(job_id)).return_value

    async def one_at_a_time(self) -> None:
        """So that the order of starts can be told."""
        await self.queue.set_global_concurrency(1)


@contextlib.asynccontextmanager
async def scene_of(name: str, url: str, history: History) -> AsyncIterator[Scene]:
    """An empty, paused queue of this name."""
    async with Queue[Any, Any](name, connection=url) as queue:
        if sum((await queue.get_job_counts()).values()):  # the case is played once more
            await queue.obliterate(force=True)
        await queue.pause()
        yield Scene(queue, url, history)
