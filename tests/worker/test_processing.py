"""A worker in this process runs jobs of every kind to their end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from glidemq import Backoff, Job, Queue, SyncJob, UnrecoverableError
from tests.testkit.waiting import eventually

Start = Callable[..., Any]


async def counts(queue: Queue[Any, Any], **expected: int) -> bool:
    found = await queue.get_job_counts()
    return all(found[state] == number for state, number in expected.items())


async def test_coroutines_run_concurrently_up_to_the_limit(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    running = highest = 0

    async def process(job: Job[Any, Any]) -> int:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        await asyncio.sleep(0.01)
        running -= 1
        return int(job.data) * 2

    await queue.add_bulk([("double", number) for number in range(40)])
    await start_worker(process, concurrency=7)
    await eventually(lambda: counts(queue, completed=40), what="40 completed jobs")
    assert highest == 7
    results = {job.id: (job.data, job.return_value) for job in await queue.get_jobs("completed")}
    assert all(result == 2 * data for data, result in results.values())


async def test_plain_functions_run_on_threads_up_to_the_limit(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    barrier = threading.Barrier(3, timeout=10)

    def process(job: SyncJob[Any, Any]) -> str:
        barrier.wait()  # passes only if three run at once
        job.log(f"on {threading.current_thread().name}")
        return threading.current_thread().name

    await queue.add_bulk([("meet", None)] * 3)
    await start_worker(process, concurrency=3)
    await eventually(lambda: counts(queue, completed=3), what="3 completed jobs")
    names = {job.return_value for job in await queue.get_jobs("completed")}
    assert len(names) == 3
    assert threading.current_thread().name not in names
    assert (await queue.get_job_logs("1")).logs[0].startswith("on ")


async def test_a_failing_job_is_retried_with_its_backoff_and_then_fails(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    attempts: list[int] = []

    async def process(job: Job[Any, Any]) -> None:
        attempts.append(job.attempts_made)
        raise ValueError(f"bad {job.attempts_made}")

    job = await queue.add("flaky", None, attempts=3, backoff=Backoff.fixed(0.02))
    assert job is not None
    await start_worker(process)
    await eventually(lambda: counts(queue, failed=1), what="the terminal failure")
    await job.refresh()
    assert attempts == [0, 1, 2]
    assert (job.attempts_made, job.failed_reason) == (3, "bad 2")


async def test_an_unrecoverable_error_ends_the_retries(queue: Queue[Any, Any], start_worker: Start) -> None:
    async def process(job: Job[Any, Any]) -> None:
        raise UnrecoverableError("never")

    job = await queue.add("once", None, attempts=5)
    assert job is not None
    await start_worker(process)
    await eventually(lambda: counts(queue, failed=1), what="the failure")
    await job.refresh()
    assert (job.attempts_made, job.failed_reason) == (1, "never")


async def test_discard_ends_the_retries(queue: Queue[Any, Any], start_worker: Start) -> None:
    async def process(job: Job[Any, Any]) -> None:
        job.discard()
        raise ValueError("enough")

    await queue.add("once", None, attempts=5)
    await start_worker(process)
    await eventually(lambda: counts(queue, failed=1), what="the failure")


async def test_a_coroutine_over_its_timeout_is_cancelled_and_fails(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    cancelled = asyncio.Event()

    async def process(job: Job[Any, Any]) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    job = await queue.add("slow", None, timeout=0.05)
    assert job is not None
    await start_worker(process)
    await eventually(lambda: counts(queue, failed=1), what="the failure")
    await job.refresh()
    assert job.failed_reason == "Job timeout exceeded"
    assert cancelled.is_set()


async def test_a_function_over_its_timeout_fails_and_its_late_result_is_void(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    seen = threading.Event()
    release = threading.Event()

    def process(job: SyncJob[Any, Any]) -> str:
        release.wait(20)
        if job.abort_signal.aborted:
            seen.set()
        return "late"

    job = await queue.add("slow", None, timeout=timedelta(milliseconds=50))
    assert job is not None
    await start_worker(process)
    await eventually(lambda: counts(queue, failed=1), what="the failure")
    release.set()
    await eventually(seen.is_set, what="the abort signal")
    await job.refresh()
    assert (job.failed_reason, job.return_value) == ("Job timeout exceeded", None)


@pytest.mark.parametrize("exit_error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_an_error_that_would_end_a_program_fails_only_the_job(
    queue: Queue[Any, Any], start_worker: Start, exit_error: BaseException
) -> None:
    def process(job: SyncJob[Any, Any]) -> None:
        if job.data == "bad":
            raise exit_error

    await start_worker(process)
    await queue.add("a", "bad")
    await queue.add("b", "good")
    await eventually(lambda: counts(queue, failed=1, completed=1), what="both ends")


async def test_a_result_that_is_not_json_fails_the_job_with_the_reason(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    async def process(job: Job[Any, Any]) -> object:
        return {"when": object()}

    job = await queue.add("a", None)
    assert job is not None
    await start_worker(process)
    await eventually(lambda: counts(queue, failed=1), what="the failure")
    await job.refresh()
    assert job.failed_reason is not None
    assert job.failed_reason.startswith("Serializer failed on return value: ")


async def test_delayed_priority_and_lifo_jobs_start_in_their_order(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    order: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        order.append(job.data)

    await queue.pause()
    for data, options in [
        ("fifo 1", {}),
        ("fifo 2", {}),
        ("lifo 1", {"lifo": True}),
        ("lifo 2", {"lifo": True}),
        ("priority 5", {"priority": 5}),
        ("priority 1", {"priority": 1}),
    ]:
        await queue.add("a", data, **options)  # type: ignore[arg-type]
    await start_worker(process)
    await queue.resume()
    await eventually(lambda: counts(queue, completed=6), what="6 completed jobs")
    assert order == ["priority 1", "priority 5", "lifo 2", "lifo 1", "fifo 1", "fifo 2"]


async def test_an_expired_job_never_starts(queue: Queue[Any, Any], start_worker: Start) -> None:
    started: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        started.append(job.id)

    job = await queue.add("late", None, ttl=0.01)
    assert job is not None
    await asyncio.sleep(0.02)  # the job's own clock: it must be over
    await start_worker(process)
    await eventually(lambda: counts(queue, failed=1), what="the expiry")
    await job.refresh()
    assert (job.failed_reason, started) == ("expired", [])


async def test_a_processor_that_cancels_its_own_task_fails(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    async def process(job: Job[Any, Any]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    job = await queue.add("a", None)
    assert job is not None
    worker = await start_worker(process)
    await eventually(job.is_failed, what="the failure")
    await job.refresh()
    assert job.failed_reason == "CancelledError"
    await worker.close()


async def test_a_cancellation_that_a_library_left_behind_ends_nothing_but_the_job(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    """Some libraries time out by cancelling the task, and never say that they are done with that."""

    async def process(job: Job[Any, Any]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        inner = asyncio.ensure_future(asyncio.sleep(60))
        inner.cancel()
        await inner

    job = await queue.add("a", None)
    assert job is not None
    await start_worker(process)
    await eventually(job.is_failed, what="the failure")


async def test_an_error_without_words_fails_the_job(queue: Queue[Any, Any], start_worker: Start) -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def process(job: SyncJob[Any, Any]) -> None:
        raise UnspeakableError

    job = await queue.add("a", None)
    assert job is not None
    await start_worker(process)
    await eventually(job.is_failed, what="the failure")
    await job.refresh()
    assert job.failed_reason == "UnspeakableError"
