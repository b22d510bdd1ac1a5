"""A queue whose jobs fail as they are told, and its dead letters."""

from __future__ import annotations

from typing import Any

from glidemq import Job, Queue, UnrecoverableError, Worker
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

AnyQueue = Queue[Any, Any]


async def process(job: Job[Any, Any]) -> Any:
    """Does what the data says."""
    match job.data:
        case {"raise": message}:
            raise ValueError(message)
        case {"give up": message}:
            raise UnrecoverableError(message)
        case {"wait": True}:
            await job.abort_signal.wait()
        case _:
            pass
    return "done"


def worker(server: ValkeyServer, queue: AnyQueue, dead_letters: Any, **options: Any) -> Worker[Any, Any]:
    return Worker(
        queue.name,
        options.pop("processor", process),
        connection=server.url,
        dead_letter_queue=dead_letters,
        **options,
    )


async def letters(queue: AnyQueue, count: int) -> list[Job[Any, Any]]:
    """The queue's dead letters, once there are so many."""

    jobs: list[Job[Any, Any]] = []

    async def arrived() -> bool:
        jobs[:] = await queue.get_dead_letter_jobs()
        return len(jobs) >= count

    await eventually(arrived, f"{count} dead letters")
    assert len(jobs) == count
    return jobs


async def fill(server: ValkeyServer, queue: AnyQueue, dead: AnyQueue, count: int) -> list[Job[Any, Any]]:
    """So many dead letters, the oldest first; no worker is left."""
    async with worker(server, queue, dead.name):
        await queue.add_bulk([("n", {"raise": f"number {number}"}) for number in range(count)])
        return await letters(queue, count)
