"""What the tests of streams have in common."""

from __future__ import annotations

from typing import Any, TypeAlias

from glidemq import Job, Queue, StreamEntry

AnyQueue: TypeAlias = Queue[Any, Any]


async def added(queue: AnyQueue, data: Any = None, **options: Any) -> Job[Any, Any]:
    job = await queue.add("call", data, **options)
    assert job is not None
    return job


async def followed(queue: AnyQueue, job_id: str, last_id: str | None = None) -> list[StreamEntry]:
    return [entry async for entry in queue.stream(job_id, last_id=last_id)]


def tokens(entries: list[StreamEntry]) -> list[str]:
    return [entry.fields["t"] for entry in entries if "t" in entry.fields]


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]
