"""One queue whose keys others have spoilt: what the server refuses for it costs the other queues nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import valkey

from glidemq import Queue
from tests.process.conftest import MakeCell
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


@pytest.fixture
async def spoilt(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    """Another queue of the app, declared before the test's own."""
    async with Queue[Any, Any](f"{queue_name}-spoilt", connection=server.url) as made:
        yield made


async def test_the_leases_of_other_queues_are_kept(
    make_cell: MakeCell, queue: Queue[Any, Any], spoilt: Queue[Any, Any], raw: valkey.Valkey
) -> None:
    client: Any = raw
    declared = [
        {"name": name, "role": "sync", "concurrency": 1, "lock_duration_ms": 1000}
        for name in (spoilt.name, queue.name)
    ]
    cell = make_cell(slots=2, queues=declared)
    await cell.started()
    actors = cell.actor(0).ready(), cell.actor(1).ready()
    from_list = await spoilt.add("a", None, lifo=True)
    job = await queue.add("a", None)
    assert from_list is not None
    assert job is not None
    started: set[str] = set()

    def both_run() -> bool:
        for actor in actors:
            for job_id in actor.take():
                started.add(job_id)
                actor.start(job_id)
        return sum(len(actor.taken) for actor in actors) == 2

    await cell.until(both_run, "both jobs")
    (books,) = client.keys(f"*{spoilt.name}*x-py:active:*")
    client.delete(books)
    client.set(books, "spoilt")
    beats: set[bytes] = set()

    def extended() -> bool:
        beats.add(client.hget(queue.keys.job(job.id), "lastActive"))
        return len(beats) > 3

    await cell.until(extended, "three heartbeats of the other queue's job", within_s=5)
    client.delete(books)


async def test_the_stalled_jobs_of_other_queues_are_found(
    make_cell: MakeCell, queue: Queue[Any, Any], spoilt: Queue[Any, Any], raw: valkey.Valkey
) -> None:
    client: Any = raw
    declared = [
        {"name": name, "role": "sync", "concurrency": 1, "lock_duration_ms": 1000}
        for name in (spoilt.name, queue.name)
    ]
    dead = make_cell(slots=1, queues=declared)
    process = await dead.spawned_gateway()
    holder = dead.actor().ready()
    job = await queue.add("a", None)
    assert job is not None
    await holder.takes(1)
    process.kill()
    process.wait()

    client.delete(f"glide:{{{spoilt.name}}}:x-py:cells")
    client.set(f"glide:{{{spoilt.name}}}:x-py:cells", "spoilt")
    cell = make_cell(slots=1, queues=declared, stalled_interval=0.5)
    await cell.started()
    actor = cell.actor().ready()
    assert await actor.takes(1) == [job.id]
    actor.run(job.id)
    await eventually(job.is_completed, "it runs on this host")
