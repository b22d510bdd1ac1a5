"""What users write, for mypy --strict and pyright strict; never run. `assert_type` tells where types get lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, assert_type

from glidemq import (
    App,
    Backoff,
    BackoffStrategy,
    CompletedEvent,
    ConnectionOptions,
    Event,
    Job,
    JobOptions,
    JobTemplate,
    Metrics,
    Producer,
    Queue,
    QueueEvents,
    RateLimit,
    RepeatableJob,
    Retention,
    RetryingEvent,
    Schedule,
    SchedulerEntry,
    SharedClient,
    SyncJob,
    Worker,
    WorkerInfo,
    graceful_shutdown,
    serverless_pool,
)


@dataclass
class Image:
    path: str


class Thumb(TypedDict):
    width: int


app = App(prefix="mine")


@app.processor("thumbnails")
def thumbnail(job: SyncJob[Image, Thumb]) -> Thumb:
    assert_type(job.data, Image)
    assert_type(job.log("started"), int)
    job.update_progress(50)
    job.abort_signal.raise_if_aborted()
    return {"width": len(job.data.path)}


def as_told(attempts_made: int, error: BaseException) -> float:
    return getattr(error, "retry_after", attempts_made * 3.0)


strategies: dict[str, BackoffStrategy] = {"as-told": as_told, "minute": lambda n, error: timedelta(minutes=n)}


@app.processor("calls", backoff_strategies=strategies)
def call(job: SyncJob[Image, str]) -> str:
    assert_type(job.wait_until_finished(timeout=5), Literal["completed", "failed"])
    job.change_priority(1)
    job.change_delay(timedelta(minutes=1))
    job.promote()
    job.retry()
    return job.data.path


@app.processor("chat", concurrency=50, timeout=timedelta(minutes=1), lock_duration=30)
async def chat(job: Job[Image, str]) -> str:
    assert_type(await job.log("started"), int)
    assert_type(await job.get_state(), str)
    return job.data.path


@app.processor("anything")
def anything(job: Job) -> None:
    assert_type(job, Job[Any, Any])
    assert_type(job.id, str)


assert_type(thumbnail(SyncJob[Image, Thumb]()), Thumb)


async def producing(client: SharedClient) -> None:
    options: JobOptions = {"attempts": 5, "ttl": 30, "backoff": Backoff.exponential(1.0, jitter=0.1)}
    async with Queue[Image, Thumb]("thumbnails", connection="valkey://localhost") as queue:
        job = await queue.add("resize", Image("a.png"), **options)
        assert_type(job, Job[Image, Thumb] | None)
        jobs = await queue.add_bulk([("resize", Image("b.png")), ("resize", Image("c.png"), {"lifo": True})])
        assert_type(jobs, list[Job[Image, Thumb]])
        await queue.add_bulk(("resize", Image(path)) for path in ("d.png", "e.png"))
        stored = await queue.get_job("1")
        assert stored is not None
        assert_type(stored.return_value, Thumb | None)
        assert_type(stored.processed_on, datetime | None)
        assert_type(await queue.get_jobs("waiting", 0, 10), list[Job[Image, Thumb]])
        assert_type(await queue.get_job_counts(), dict[str, int])
        assert_type(await queue.remove("1"), bool)
    untyped = Queue("q", client=client)
    assert_type(untyped, Queue[Any, Any])
    await untyped.add(
        "n", {"a": [1]}, remove_on_complete=Retention(age=timedelta(days=1)), delay=timedelta(hours=1)
    )


async def producing_only() -> None:
    async with Producer[Image]("thumbnails", compression="gzip") as producer:
        assert_type(await producer.add("resize", Image("a.png"), job_id="x"), str | None)
        assert_type(await producer.add_bulk([("resize", Image("b.png"))]), list[str | None])
        assert_type(producer.is_closed, bool)
    pooled = serverless_pool.get_producer("thumbnails", connection="valkey://localhost")
    assert_type(pooled, Producer[Any])
    assert_type(serverless_pool.size, int)
    await serverless_pool.close_all()


async def steering(queue: Queue[Image, Thumb]) -> None:
    assert_type(await queue.add_and_wait("resize", Image("a"), wait_timeout=5, attempts=2), Thumb)
    assert_type(await queue.revoke("1"), Literal["revoked", "flagged", "not_found"])
    assert_type(await queue.clean(timedelta(days=1), 100, "failed"), list[str])
    assert_type(await queue.drain(delayed=True), int)
    assert_type(await queue.retry_jobs(10), int)
    assert_type(await queue.get_metrics("completed"), Metrics)
    assert_type(await queue.get_workers(), list[WorkerInfo])
    await queue.set_global_rate_limit(RateLimit(max=10, duration=1))
    assert_type(await queue.get_global_rate_limit(), RateLimit | None)
    template = JobTemplate(name="tick", data={"a": 1})
    assert_type(await queue.upsert_job_scheduler("tick", Schedule(every=60), template), SchedulerEntry)
    assert_type(await queue.get_repeatable_jobs(), list[RepeatableJob])
    job = await queue.get_job("1")
    assert job is not None
    assert_type(await job.wait_until_finished(poll=0.1), Literal["completed", "failed"])
    await job.promote()


async def ending(client: SharedClient, queue: Queue[Image, Thumb]) -> None:
    worker = Worker("thumbnails", chat, connection="valkey://localhost", client=client)
    await graceful_shutdown([worker, queue, client])


async def observing() -> None:
    async with QueueEvents("thumbnails", connection=ConnectionOptions(socket="/run/valkey.sock")) as events:
        async for event in events:
            assert_type(event, Event)
            if isinstance(event, CompletedEvent):
                print(event.return_value, event.job_id, event.timestamp, event.raw)

    async def on_retry(event: RetryingEvent) -> None:
        assert_type(event.delay, float)

    handlers = QueueEvents("thumbnails")
    handlers.on("retrying", on_retry)
    handlers.on("completed", lambda event: print(event.return_value))
    handlers.on("stalled", lambda event: print(event.job_id))


async def mistakes(queue: Queue[Image, Thumb], events: QueueEvents) -> None:
    """Each line is wrong, and both checkers say so: an unused ignore is an error."""
    await queue.add("n", 5)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]
    await queue.add("n", Image("a"), jobId="x")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    await queue.add("n", Image("a"), lifo=1)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]
    await queue.add_and_wait("n", Image("a"), waitTimeout=5)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await queue.clean(1, 2, "waiting")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Queue("q", compression="lz4")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await queue.add_bulk([("n", 5)])  # type: ignore[list-item] # pyright: ignore[reportArgumentType, reportCallIssue]

    def wrong(event: RetryingEvent) -> None: ...

    events.on("completed", wrong)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]
