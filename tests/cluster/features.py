"""The main case of every feature, in a cluster.

One coroutine a feature, named after it; the list at the end is the table. A case gets a queue that is paused until
`scene.work()`; it is played twice, with an in-process `Worker`, and with a supervisor over two actor processes that
serve the queues of all cases at once.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any, TypeAlias

import pytest

from glidemq import (
    Backoff,
    Deduplication,
    JobFailedError,
    Ordering,
    Producer,
    Queue,
    QueueEvents,
    RateLimit,
    ServerlessPool,
    SharedClient,
    TokenBucket,
)  # fmt: skip
from tests.cluster.ai_features import AI_FEATURES
from tests.cluster.control_features import CONTROL
from tests.cluster.scene import Scene
from tests.testkit.waiting import eventually

Case: TypeAlias = Callable[[Scene], Awaitable[None]]


# -- order and time --------------------------------------------------------------------------------------------


async def plain(scene: Scene) -> None:
    ids = [await scene.add("echo", number) for number in range(20)]
    await scene.work()
    await scene.ended(20)
    assert [await scene.result(job_id) for job_id in ids] == list(range(20))


async def many_at_once(scene: Scene) -> None:
    jobs = await scene.queue.add_bulk([("echo", number) for number in range(1200)])
    await scene.work()
    await scene.ended(1200)
    assert len({job.id for job in jobs}) == len(scene.runs()) == 1200


async def priority(scene: Scene) -> None:
    await scene.one_at_a_time()
    ids = {rank: await scene.add("echo", priority=rank) for rank in (2048, 9, 1, 5)}
    await scene.work()
    names = {job_id: rank for rank, job_id in ids.items()}
    assert [names[job_id] for job_id in await scene.started(4)] == [1, 5, 9, 2048]


async def change_priority(scene: Scene) -> None:
    await scene.one_at_a_time()
    first, second = await scene.add("echo", priority=1), await scene.add("echo")
    await (await scene.job(first)).change_priority(9)
    await (await scene.job(second)).change_priority(3)
    await scene.work()
    assert await scene.started(2) == [second, first]


async def lifo(scene: Scene) -> None:
    await scene.one_at_a_time()
    ids = [await scene.add("echo", lifo=True) for _ in range(3)]
    await scene.work()
    assert await scene.started(3) == ids[::-1]


async def delayed(scene: Scene) -> None:
    await scene.work()
    job_id = await scene.add("echo", delay=0.3)
    assert await (await scene.job(job_id)).is_delayed()
    await scene.ended(1)
    job = await scene.job(job_id)
    assert (job.processed_on - job.timestamp).total_seconds() >= 0.3


async def change_delay_and_promote(scene: Scene) -> None:
    await scene.work()
    sooner, now = await scene.add("echo", delay=3600), await scene.add("echo", delay=3600)
    await (await scene.job(sooner)).change_delay(0.05)
    await (await scene.job(now)).promote()
    await scene.ended(2)


async def ttl(scene: Scene) -> None:
    job_id = await scene.add("echo", ttl=0.02)
    expired_at = time.monotonic() + 0.05
    await eventually(lambda: time.monotonic() > expired_at, "its time passes while the queue is paused")
    await scene.work()
    await scene.ended(1)
    assert (await scene.job(job_id)).failed_reason == "expired"
    assert not scene.runs()


# -- failures --------------------------------------------------------------------------------------------------


async def retries(scene: Scene) -> None:
    fixed = await scene.add("fail_once", 1, attempts=2, backoff=Backoff.fixed(0.05))
    named = await scene.add("fail_once", 2, attempts=2, backoff={"type": "at-once", "delay": 0})
    await scene.work()
    await scene.ended(2)
    assert [await scene.result(fixed), await scene.result(named)] == [1, 2]
    assert len(scene.runs()) == 4


async def timeout(scene: Scene) -> None:
    job_id = await scene.add("until_aborted", timeout=0.1)
    await scene.work()
    await scene.ended(1)
    assert "timeout" in (await scene.job(job_id)).failed_reason


async def retry_of_failed_jobs(scene: Scene) -> None:
    first, second = [await scene.add("fail_until_open", scene.gate) for _ in range(2)]
    await scene.work()
    await scene.ended(2)
    scene.open_gate()
    await (await scene.job(first)).retry()
    assert await scene.queue.retry_jobs() == 1
    await eventually((await scene.job(first)).is_completed, "the one that was retried by itself completes")
    await eventually(
        (await scene.job(second)).is_completed, "the one that was retried with all others completes"
    )


async def revocation(scene: Scene) -> None:
    waiting, active = await scene.add("echo"), await scene.add("until_aborted", lock_duration=1)
    assert await scene.queue.revoke(waiting) == "revoked"
    await scene.work()
    await scene.started(1)
    await scene.queue.revoke(active)
    await scene.ended(2)
    assert {(await scene.job(job_id)).failed_reason for job_id in (waiting, active)} == {"revoked"}


# -- limits ----------------------------------------------------------------------------------------------------


async def group(scene: Scene) -> None:
    ids = [await scene.add("echo", ordering=Ordering("k")) for _ in range(12)]
    await scene.work()
    await scene.ended(12)
    runs = scene.runs()
    assert [run.id for run in runs] == ids
    assert all(before.ended and before.ended <= after.at for before, after in pairwise(runs))


async def group_rate_limit(scene: Scene) -> None:
    limited = Ordering("k", concurrency=4, rate_limit=RateLimit(2, 0.3))
    for _ in range(4):
        await scene.add("echo", ordering=limited)
    await scene.work()
    await scene.ended(4)
    starts = sorted([await _started_ms(scene, run.id) for run in scene.runs()])
    assert starts[2] - starts[0] >= 300


async def group_token_bucket(scene: Scene) -> None:
    limited = Ordering("k", concurrency=4, token_bucket=TokenBucket(capacity=2, refill_rate=4))
    for _ in range(3):
        await scene.add("echo", ordering=limited, cost=2)
    await scene.work()
    await scene.ended(3)
    starts = sorted([await _started_ms(scene, run.id) for run in scene.runs()])
    assert starts[2] - starts[0] >= 900  # two refills of 0.5 s, measured where they are granted


async def global_concurrency(scene: Scene) -> None:
    await scene.queue.set_global_concurrency(2)
    for _ in range(5):
        await scene.add("until_open", scene.gate)
    await scene.work()
    await scene.started(2)
    assert (await scene.queue.get_job_counts())["active"] == 2
    scene.open_gate()
    await scene.ended(5)


async def global_rate_limit(scene: Scene) -> None:
    await scene.queue.set_global_rate_limit(RateLimit(2, 0.3))
    for _ in range(3):
        await scene.add("echo")
    await scene.work()
    await scene.ended(3)
    starts = sorted([await _started_ms(scene, run.id) for run in scene.runs()])
    assert starts[2] - starts[0] >= 290


async def _started_ms(scene: Scene, job_id: str) -> float:
    return float((await scene.job(job_id)).processed_on.timestamp() * 1000)


# -- schedulers ------------------------------------------------------------------------------------------------


async def schedulers(scene: Scene) -> None:
    await scene.work()
    await scene.queue.upsert_job_scheduler("every", {"every": 0.1, "limit": 3}, {"name": "echo", "data": 1})
    await scene.queue.upsert_job_scheduler(
        "after", {"repeat_after_complete": 0.1, "limit": 2}, {"name": "echo"}
    )
    await scene.queue.upsert_job_scheduler("cron", {"pattern": "0 3 * * *"}, {"name": "echo"})
    assert [job.name for job in await scene.queue.get_repeatable_jobs()] == ["after", "cron", "every"]
    await scene.ended(5)
    assert await scene.queue.remove_job_scheduler("cron")


# -- steering and looking --------------------------------------------------------------------------------------


async def pause_and_resume(scene: Scene) -> None:
    await scene.work()
    await scene.add("echo")
    await scene.ended(1)
    await scene.queue.pause()
    job_id = await scene.add("echo")
    assert await (await scene.job(job_id)).is_waiting()
    await scene.work()
    await scene.ended(2)


async def drain_clean_and_obliterate(scene: Scene) -> None:
    for _ in range(3):
        await scene.add("echo", delay=60)
        await scene.add("echo")
    assert await scene.queue.drain(delayed=True) == 6
    await scene.work()
    await scene.add("echo")
    await scene.ended(1)
    assert len(await scene.queue.clean(0, 10, "completed")) == 1
    await scene.queue.pause()
    await scene.add("echo")
    await scene.queue.obliterate(force=True)
    assert await scene.queue.count() == 0


async def report(scene: Scene) -> None:
    job_id = await scene.add("report", "old data")
    await scene.work()
    await scene.ended(1)
    job = await scene.job(job_id)
    assert (job.data, job.progress, job.return_value) == ("new data", 50, "reported")
    assert (await scene.queue.get_job_logs(job_id)).logs == ["a line"]


async def inspection(scene: Scene) -> None:
    await scene.add("fail")
    completed = await scene.add("echo", {"colour": "red"})
    await scene.work()
    await scene.ended(2)
    assert [job.id for job in await scene.queue.get_jobs("completed")] == [completed]
    assert [job.id for job in await scene.queue.search_jobs(data={"colour": "red"})] == [completed]
    assert sum(point.count for point in (await scene.queue.get_metrics("completed")).data) == 1
    assert len(await scene.queue.get_workers()) == 1


async def retention(scene: Scene) -> None:
    first, second = await scene.add("echo", remove_on_complete=True), await scene.add("echo")
    await scene.work()
    await scene.started(2)
    await eventually((await scene.job(second)).is_completed, "the kept job completes")
    await eventually(lambda: _gone(scene, first), "the other is removed")


async def _gone(scene: Scene, job_id: str) -> bool:
    return await scene.queue.get_job(job_id) is None


async def events(scene: Scene) -> None:
    async with QueueEvents(scene.queue.name, connection=scene.url) as seen:
        job_id = await scene.add("echo", "a result")
        await scene.work()
        async for event in seen:
            if event.name == "completed":
                assert (event.job_id, event.return_value) == (job_id, "a result")
                return


async def add_and_wait(scene: Scene) -> None:
    await scene.work()
    assert await scene.queue.add_and_wait("echo", [1, 2]) == [1, 2]
    with pytest.raises(JobFailedError, match="always"):
        await scene.queue.add_and_wait("fail", None)


# -- producing -------------------------------------------------------------------------------------------------


async def custom_ids(scene: Scene) -> None:
    assert await scene.add("echo", job_id="007") == "007"
    assert await scene.queue.add("echo", None, job_id="007") is None
    await scene.work()
    await scene.ended(1)
    assert [run.id for run in scene.runs()] == ["007"]


async def deduplication(scene: Scene) -> None:
    once = Deduplication("once")
    window = Deduplication("window", ttl=0.2, mode="debounce")
    assert await scene.queue.add("echo", 1, deduplication=once) is not None
    assert await scene.queue.add("echo", 2, deduplication=once) is None
    for number in (3, 4, 5):
        await scene.queue.add("echo", number, deduplication=window)
    await scene.work()
    await scene.ended(2)
    assert {job.return_value for job in await scene.queue.get_jobs("completed")} == {1, 5}


async def dead_letters(scene: Scene) -> None:
    """The two queues lie on different primaries, for some of the cases' queues at least."""
    name = f"{scene.queue.name}-dead"
    await scene.queue.set_dead_letter_queue(name)
    ids = [await scene.add("fail", number) for number in range(10)]
    await scene.work()

    async def arrived() -> bool:
        return len(await scene.queue.get_dead_letter_jobs()) == 10

    await eventually(arrived, "ten dead letters")
    found = await scene.queue.get_dead_letter_jobs()
    assert {letter.data["originalJobId"] for letter in found} == set(ids)
    await scene.queue.pause()
    assert await scene.queue.replay_dead_letter_jobs() == 10
    assert await scene.queue.get_dead_letter_jobs() == []
    assert await scene.queue.count() == 10
    async with Queue[Any, Any](name, connection=scene.url) as dead:
        await dead.obliterate(force=True)
    await scene.queue.set_dead_letter_queue(None)


async def compression(scene: Scene) -> None:
    text = "so often that it packs well " * 1000
    for compression in ("gzip", "zstd"):
        async with Producer[Any](scene.queue.name, connection=scene.url, compression=compression) as producer:
            await producer.add("echo", text)
    await scene.work()
    await scene.ended(2)
    assert {job.return_value for job in await scene.queue.get_jobs("completed")} == {text}


async def shared_client_and_serverless_pool(scene: Scene) -> None:
    pool = ServerlessPool()
    async with await SharedClient.connect(scene.url) as client:
        await Queue[Any, Any](scene.queue.name, client=client).add("echo", 1)
        await Producer[Any](scene.queue.name, client=client).add("echo", 2)
    try:
        await pool.get_producer(scene.queue.name, connection=scene.url).add("echo", 3)
    finally:
        await pool.close_all()
    await scene.work()
    await scene.ended(3)
    assert {job.return_value for job in await scene.queue.get_jobs("completed")} == {1, 2, 3}


FEATURES: list[Case] = [
    plain,
    many_at_once,
    priority,
    change_priority,
    lifo,
    delayed,
    change_delay_and_promote,
    ttl,
    retries,
    timeout,
    retry_of_failed_jobs,
    revocation,
    group,
    group_rate_limit,
    group_token_bucket,
    global_concurrency,
    global_rate_limit,
    schedulers,
    pause_and_resume,
    drain_clean_and_obliterate,
    report,
    inspection,
    retention,
    events,
    add_and_wait,
    custom_ids,
    deduplication,
    dead_letters,
    *AI_FEATURES,
    compression,
    shared_client_and_serverless_pool,
    *CONTROL,
]
