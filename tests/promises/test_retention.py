"""What is removed is removed whole: whatever removes a job takes everything that belongs to it along."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glidemq import Job, Queue, Retention, Worker
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

AnyQueue = Queue[Any, Any]

# What may belong to a job, by wire format and by us; the members of sets are looked at below.
SATELLITES = ("log", "jstream", "signals", "deps", "parents", "vec")
ZSETS = ("completed", "failed", "scheduled", "suspended", "x-py:vectors", "x-py:parents")


def furnish(raw: Any, queue: AnyQueue, job_id: str) -> None:
    """Give a job one of everything that its processor, its parents and other programs may hang on it."""
    base = queue.keys.base
    raw.rpush(f"{base}:log:{job_id}", "line")
    raw.xadd(f"{base}:jstream:{job_id}", {"t": "x"})
    raw.rpush(f"{base}:signals:{job_id}", "{}")
    raw.sadd(f"{base}:deps:{job_id}", f"{base}:child")
    raw.sadd(f"{base}:parents:{job_id}", f"{base}:parent")
    raw.hset(f"{base}:vec:{job_id}", "v", "x")
    raw.zadd(f"{base}:x-py:vectors", {job_id: 0})


def left_of(raw: Any, queue: AnyQueue, job_id: str) -> set[str]:
    """The keys and set members that still name the job."""
    base = queue.keys.base
    names = {f"{kind}:{job_id}" for kind in (*SATELLITES, "job") if raw.exists(f"{base}:{kind}:{job_id}")}
    names |= {zset for zset in ZSETS if raw.zscore(f"{base}:{zset}", job_id) is not None}
    names |= {
        key.decode().removeprefix(f"{base}:")
        for key in raw.scan_iter(match=f"{base}:*:{job_id}*", count=1000)
    }
    return names


async def furnished(queue: AnyQueue, raw: Any, **options: Any) -> str:
    job = await queue.add("n", None, **options)
    assert job is not None
    furnish(raw, queue, job.id)
    return job.id


async def work(job: Job[Any, Any]) -> str:
    await job.log("another line")
    if job.name == "fails":
        raise ValueError("no")
    return "done"


async def removed_by_job(queue: AnyQueue, job_id: str) -> None:
    job = await queue.get_job(job_id)
    assert job is not None
    await job.remove()


async def removed_by_queue(queue: AnyQueue, job_id: str) -> None:
    assert await queue.remove(job_id)


async def drained(queue: AnyQueue, job_id: str) -> None:
    assert await queue.drain() == 1


async def obliterated(queue: AnyQueue, job_id: str) -> None:
    await queue.obliterate()


Removal = Callable[[AnyQueue, str], Awaitable[None]]


@pytest.mark.parametrize("remove", [removed_by_job, removed_by_queue, drained, obliterated])
async def test_a_waiting_job_goes_whole(
    server: ValkeyServer, queue_name: str, raw: Any, remove: Removal
) -> None:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        job_id = await furnished(queue, raw, job_id="the-one")
        assert len(left_of(raw, queue, job_id)) >= 8
        await remove(queue, job_id)
        assert left_of(raw, queue, job_id) == set()
        assert not raw.exists(queue.keys.stream) or raw.xlen(queue.keys.stream) == 0


@pytest.mark.parametrize("name", ["completes", "fails"])
@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (True, []),
        (2, ["the-4", "the-5"]),
        (Retention(count=1), ["the-5"]),
        (Retention(age=3600, count=3), ["the-3", "the-4", "the-5"]),
        (False, ["the-1", "the-2", "the-3", "the-4", "the-5"]),
    ],
)
async def test_finished_jobs_are_kept_as_asked_and_the_others_go_whole(
    server: ValkeyServer, queue_name: str, raw: Any, name: str, policy: Any, kept: list[str]
) -> None:
    option = "remove_on_complete" if name == "completes" else "remove_on_fail"
    ended: list[str] = []
    async with AnyQueue(queue_name, connection=server.url) as queue:
        ids = [f"the-{number}" for number in range(1, 6)]
        for job_id in ids:
            options: Any = {option: policy, "job_id": job_id}
            await queue.add(name, None, **options)
            furnish(raw, queue, job_id)
        worker = Worker[Any, Any](queue_name, work, connection=server.url)
        for event in ("completed", "failed"):
            worker.on(event, lambda job, _: ended.append(job.id))  # type: ignore[call-overload]
        async with worker:
            await eventually(lambda: ended == ids, "all have ended")
        assert [job_id for job_id in ids if left_of(raw, queue, job_id)] == kept
        state = "completed" if name == "completes" else "failed"
        assert [job.id for job in await queue.get_jobs(state)] == kept
        for job_id in kept:
            assert (await queue.get_job_logs(job_id)).logs == ["line", "another line"]


async def test_finished_jobs_go_when_they_are_old_enough(
    server: ValkeyServer, queue_name: str, raw: Any
) -> None:
    async with (
        AnyQueue(queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, work, connection=server.url),
    ):
        options: Any = {"remove_on_complete": Retention(age=100)}
        old = await queue.add("n", None, job_id="the-old", **options)
        assert old is not None
        await old.wait_until_finished(poll=0.01)
        furnish(raw, queue, "the-old")
        raw.zincrby(f"{queue.keys.base}:completed", -200_000, "the-old")  # it ended so many ms earlier
        young = await queue.add("n", None, job_id="the-young", **options)
        assert young is not None
        await young.wait_until_finished(poll=0.01)
        assert left_of(raw, queue, "the-old") == set()
        assert left_of(raw, queue, "the-young") != set()


async def test_cleaned_jobs_go_whole(server: ValkeyServer, queue_name: str, raw: Any) -> None:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        ids = [await furnished(queue, raw, job_id=f"the-{number}") for number in range(3)]
        async with Worker[Any, Any](queue_name, work, connection=server.url):
            for job_id in ids:
                job = await queue.get_job(job_id)
                assert job is not None
                await job.wait_until_finished(poll=0.01)
        assert await queue.clean(0, 2) == ids[:2]
        assert [job_id for job_id in ids if left_of(raw, queue, job_id)] == ids[2:]


async def test_a_running_job_that_is_removed_comes_back_in_no_form(
    server: ValkeyServer, queue_name: str, raw: Any
) -> None:
    started, let_go = asyncio.Event(), asyncio.Event()

    async def wait(job: Job[Any, Any]) -> str:
        started.set()
        await let_go.wait()
        return "late"

    async with AnyQueue(queue_name, connection=server.url) as queue:
        job_id = await furnished(queue, raw, job_id="the-one")
        async with Worker[Any, Any](queue_name, wait, connection=server.url):
            await started.wait()
            assert await queue.remove(job_id)
            let_go.set()
        assert left_of(raw, queue, job_id) == set()
        assert (await queue.get_job_counts())["completed"] == 0


@pytest.fixture
def runtime(own_server: ValkeyServer, tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(
        tmp_path / "runtime",
        "tests.promises.batch_app:app",
        url=own_server.url,
        effects=tmp_path / "effects",
        arguments=["--procs", "1"],
    )
    yield made.start()
    made.clean_up()


async def test_jobs_of_actor_processes_are_kept_as_asked(runtime: Runtime, own_server: ValkeyServer) -> None:
    await runtime.ready()
    raw: Any = own_server.client()
    async with AnyQueue("sync-single", connection=own_server.url) as queue:
        for number in range(6):
            options: Any = {"remove_on_complete": 2, "job_id": f"the-{number}"}
            await queue.add("n", {}, **options)
        await eventually(lambda: _completed(queue, 2), "two are left")
        await eventually(lambda: not left_of(raw, queue, "the-3"), "the others are gone")
        assert [bool(left_of(raw, queue, f"the-{number}")) for number in range(6)] == [False] * 4 + [True] * 2
    raw.close()


async def _completed(queue: AnyQueue, count: int) -> bool:
    counts = await queue.get_job_counts()
    return counts["completed"] == count and counts["waiting"] + counts["active"] == 0
