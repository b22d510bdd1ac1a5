"""Jobs that keep coming while nodes move and die."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from glidemq import ConnectionError, Queue, UnknownOutcomeError

SERVICE_S = 0.002


class Load:
    """Adds jobs to one queue, by automatic and by given ids in turn, and remembers what it was told of each.

    Owns: the queue's handle. Stops when: ended.
    """

    def __init__(self, queue: str, url: str, *, per_second: float = 200) -> None:
        self.queue = Queue[Any, Any](queue, connection=url)
        self.acked: list[str] = []
        self.doubtful: list[str] = []  # given ids of adds without an answer: executed or not
        self.unanswered = 0  # the same without an id of ours
        self.refused = 0  # adds that were certainly not executed
        self._interval_s = 1 / per_second
        self._ending = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def end(self) -> list[str]:
        """Stop; the ids of all jobs that were acknowledged."""
        self._ending = True
        await self._task
        await self.queue.close()
        return self.acked

    async def _run(self) -> None:
        for number in itertools.count():
            if self._ending:
                return
            await self._add(f"given-{number}" if number % 2 else None)
            await asyncio.sleep(self._interval_s)

    async def _add(self, job_id: str | None) -> None:
        try:
            job = await self.queue.add("tell_token", SERVICE_S, job_id=job_id)
        except UnknownOutcomeError:
            if job_id is None:
                self.unanswered += 1
            else:
                self.doubtful.append(job_id)
        except ConnectionError:
            self.refused += 1
        else:
            assert job is not None
            self.acked.append(job.id)
