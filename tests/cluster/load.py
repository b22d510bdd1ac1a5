"""Jobs that keep coming while nodes move and die."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from glide import GlideError

from glidemq import ConnectionError, Queue, UnknownOutcomeError

SERVICE_S = 0.002


class Load:
    """Adds jobs to one queue, by automatic and by given ids in turn, and remembers what it was told of each.

    Owns: the queue's handle. Stops when: ended.
    """

    def __init__(self, queue: str, url: str, *, per_second: float = 200, replicas: int = 0) -> None:
        """replicas: how many of them are asked to confirm each add, until it is not confirmed for once."""
        self.queue = Queue[Any, Any](queue, connection=url)
        self._replicas = replicas
        self.acked: list[str] = []
        self.confirmed: list[str] = []  # those that so many replicas have
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
            if self._replicas:
                if await self._is_replicated():
                    self.confirmed.append(job.id)
                else:
                    self._replicas = 0  # it has taken over, and has none itself

    async def _is_replicated(self) -> bool:
        """WAIT, on the connection that has carried the add: it confirms what that one has written."""
        connection: Any = self.queue._connection
        route = connection._commands.route_of(self.queue.keys.meta)
        try:
            found = await connection._client.custom_command(["WAIT", str(self._replicas), "500"], route)
        except GlideError:
            return False
        return int(found) >= self._replicas
