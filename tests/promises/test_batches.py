"""Batch processors: several jobs per call, an outcome for each, in every kind of worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

import pytest

from glidemq import (
    App,
    Batch,
    BatchError,
    ConfigurationError,
    Job,
    Queue,
    UnrecoverableError,
    ValidationError,
    Worker,
)
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

AnyQueue = Queue[Any, Any]
Jobs = list[Job[Any, Any]]
Function = Callable[[Any], Any]


class Number(TypedDict):
    n: int


def as_kind(kind: str, function: Callable[[Any], Any]) -> Function:
    """The processor as a plain function, or as a coroutine function."""
    if kind == "sync":
        return function

    async def run(jobs: Any) -> Any:
        return function(jobs)

    return run


async def finished(jobs: list[Any]) -> list[tuple[str, Any]]:
    """The end of each job: ("completed", its result) or ("failed", the reason)."""
    ends: list[tuple[str, Any]] = []
    for job in jobs:
        state = await job.wait_until_finished(poll=0.01)
        ends.append((state, job.return_value if state == "completed" else job.failed_reason))
    return ends


@pytest.fixture
async def run_batch(server: ValkeyServer, queue_name: str) -> Callable[..., Awaitable[list[tuple[str, Any]]]]:
    """`run_batch(processor, [data, …], options, size=…)`: the ends of jobs that were there before the worker was."""

    async def run(
        processor: Function, data: list[Any], options: Any = None, *, size: int = 10, **worker_options: Any
    ) -> list[tuple[str, Any]]:
        async with AnyQueue(queue_name, connection=server.url) as queue:
            jobs = await queue.add_bulk([("n", item, options or {}) for item in data])
            async with Worker[Any, Any](
                queue_name, processor, connection=server.url, batch=Batch(size), **worker_options
            ):
                return await finished(jobs)

    return run


Run = Callable[..., Awaitable[list[tuple[str, Any]]]]
kinds = pytest.mark.parametrize("kind", ["sync", "async"])


@kinds
async def test_jobs_that_are_there_are_processed_together_each_with_its_own_result(
    run_batch: Run, kind: str
) -> None:
    sizes: list[int] = []

    def double(jobs: Jobs) -> list[int]:
        sizes.append(len(jobs))
        return [2 * job.data for job in jobs]

    ends = await run_batch(as_kind(kind, double), list(range(25)), size=10)
    assert ends == [("completed", 2 * n) for n in range(25)]
    assert sum(sizes) == 25
    assert max(sizes) == 10
    assert len(sizes) <= 5


@kinds
async def test_what_a_batch_raises_fails_each_of_its_jobs_by_its_own_rules(
    server: ValkeyServer, queue_name: str, kind: str
) -> None:
    attempts: list[list[str]] = []

    def fail(jobs: Jobs) -> None:
        attempts.append([job.name for job in jobs])
        raise RuntimeError("down")

    async with AnyQueue(queue_name, connection=server.url) as queue:
        jobs = await queue.add_bulk([("once", 1), ("thrice", 2, {"attempts": 3})])
        async with Worker[Any, Any](
            queue_name, as_kind(kind, fail), connection=server.url, batch={"size": 10}
        ):
            assert await finished(jobs) == [("failed", "down")] * 2
    assert attempts == [["once", "thrice"], ["thrice"], ["thrice"]]
    assert [job.attempts_made for job in jobs] == [1, 3]


@kinds
async def test_a_batch_error_tells_the_ends_apart(run_batch: Run, kind: str) -> None:
    def mixed(jobs: Jobs) -> None:
        raise BatchError([job.data if job.data % 2 else ValueError(f"even {job.data}") for job in jobs[:-1]])

    assert await run_batch(as_kind(kind, mixed), [1, 2, 3, 4]) == [
        ("completed", 1),
        ("failed", "even 2"),
        ("completed", 3),
        ("failed", "No result in BatchError"),
    ]


async def test_gathered_exceptions_are_the_failures_of_their_jobs(run_batch: Run) -> None:
    async def one(job: Job[int, int]) -> int:
        if job.data == 2:
            raise UnrecoverableError("not this one")
        return job.data

    async def each(jobs: list[Job[int, int]]) -> list[Any]:
        return await asyncio.gather(*map(one, jobs), return_exceptions=True)

    ends = await run_batch(each, [1, 2, 3], {"attempts": 5})
    assert ends == [("completed", 1), ("failed", "not this one"), ("completed", 3)]


@kinds
@pytest.mark.parametrize(
    ("result", "count"), [([1], "1"), ([1, 2, 3, 4], "4"), (None, "non-array"), ("ab", "non-array")]
)
async def test_another_number_of_results_fails_all_jobs(
    run_batch: Run, kind: str, result: Any, count: str
) -> None:
    ends = await run_batch(as_kind(kind, lambda _: result), [1, 2])
    assert ends == [("failed", f"Batch processor returned {count} results but batch had 2 jobs")] * 2


@kinds
async def test_a_result_that_cannot_be_stored_fails_its_job_alone(run_batch: Run, kind: str) -> None:
    results = {"big": "x" * 1_048_577, "odd": object(), "good": "fine"}
    ends = await run_batch(as_kind(kind, lambda jobs: [results[job.data] for job in jobs]), list(results))
    assert ends[0] == ("failed", "Return value exceeds maximum size (1048579 bytes > 1048576 bytes).")
    assert ends[1][0] == "failed" and ends[1][1].startswith("Serializer failed on return value: ")
    assert ends[2] == ("completed", "fine")


@kinds
async def test_data_that_does_not_fit_the_annotation_fails_its_job_alone(run_batch: Run, kind: str) -> None:
    seen: list[int] = []

    def note(jobs: list[Job[Number, int]]) -> list[int]:
        seen.extend(job.data["n"] for job in jobs)
        return [job.data["n"] for job in jobs]

    async def note_async(jobs: list[Job[Number, int]]) -> list[int]:
        return note(jobs)

    function: Function = note if kind == "sync" else note_async
    ends = await run_batch(function, [{"n": 1}, {"n": "two"}, {"n": 3}], {"attempts": 3})
    assert [state for state, _ in ends] == ["completed", "failed", "completed"]
    assert seen == [1, 3]


@kinds
async def test_a_batch_that_overruns_the_shortest_timeout_fails_as_a_whole(run_batch: Run, kind: str) -> None:
    stopped = threading.Event()

    def wait(jobs: Jobs) -> None:
        while not all(job.abort_signal.aborted for job in jobs):
            pass
        stopped.set()

    async def wait_async(jobs: Jobs) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            if all(job.abort_signal.aborted for job in jobs):
                stopped.set()

    ends = await run_batch(wait if kind == "sync" else wait_async, [1, 2], {"timeout": 0.1})
    assert ends == [("failed", "Batch timeout exceeded")] * 2
    await eventually(stopped.is_set, "every job of the batch was told to stop")


@kinds
async def test_a_batch_waits_for_company_no_longer_than_its_timeout(
    server: ValkeyServer, queue_name: str, kind: str
) -> None:
    sizes: list[int] = []

    def note(jobs: Jobs) -> list[None]:
        sizes.append(len(jobs))
        return [None] * len(jobs)

    async with (
        AnyQueue(queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, as_kind(kind, note), connection=server.url, batch=Batch(3, timeout=0.5)),
    ):
        jobs = [await queue.add("n", 1)]
        # The others come one by one, each in a call of its own.
        jobs += [await queue.add("n", n) for n in (2, 3)]
        assert await finished(jobs) == [("completed", None)] * 3
        assert sizes == [3]
        last = await queue.add("n", 4)
        assert await finished([last]) == [("completed", None)]
        assert sizes == [3, 1]


@kinds
async def test_concurrency_counts_batches(server: ValkeyServer, queue_name: str, kind: str) -> None:
    lock = threading.Lock()
    running: list[int] = []
    most: list[int] = []
    let_go = threading.Event()

    def note(jobs: Jobs) -> list[None]:
        with lock:
            running.append(len(jobs))
            most.append(len(running))
        let_go.wait(30)
        with lock:
            running.pop()
        return [None] * len(jobs)

    async def note_async(jobs: Jobs) -> list[None]:
        return await asyncio.to_thread(note, jobs)

    async with AnyQueue(queue_name, connection=server.url) as queue:
        jobs = await queue.add_bulk([("n", n) for n in range(9)])
        async with Worker[Any, Any](
            queue_name,
            note if kind == "sync" else note_async,
            connection=server.url,
            concurrency=2,
            batch=Batch(2),
        ):
            await eventually(lambda: len(running) == 2, "two batches run")
            counts = await queue.get_job_counts()
            assert (counts["active"], counts["waiting"]) == (4, 5)
            let_go.set()
            await finished(jobs)
    assert max(most) == 2


@kinds
async def test_a_revoked_job_of_a_batch_fails_alone(server: ValkeyServer, queue_name: str, kind: str) -> None:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        jobs = await queue.add_bulk([("n", n) for n in range(3)])

        def wait(batch: Jobs) -> list[int]:
            while not batch[1].abort_signal.aborted:
                pass
            return [job.data for job in batch]

        async def wait_async(batch: Jobs) -> list[int]:
            await batch[1].abort_signal.wait()
            return [job.data for job in batch]

        async with Worker[Any, Any](
            queue_name,
            wait if kind == "sync" else wait_async,
            connection=server.url,
            lock_duration=1,
            batch=Batch(3),
        ):
            await eventually(lambda: jobs[1].is_active(), "the batch runs")
            assert await queue.revoke(jobs[1].id) == "flagged"
            assert await finished(jobs) == [("completed", 0), ("failed", "revoked"), ("completed", 2)]


async def test_a_forced_close_gives_the_jobs_of_a_running_batch_and_of_one_that_gathers_back(
    server: ValkeyServer, queue_name: str
) -> None:
    started = asyncio.Event()

    async def hang(jobs: Jobs) -> None:
        started.set()
        await asyncio.sleep(60)

    async with AnyQueue(queue_name, connection=server.url) as queue:
        await queue.add_bulk([("n", n) for n in range(3)])
        worker = Worker[Any, Any](
            queue_name, hang, connection=server.url, concurrency=2, batch=Batch(2, timeout=60)
        )
        await worker.start()
        await started.wait()
        await eventually(lambda: _active(queue, 3), "all three are in hand")
        await worker.close(force=True)
        counts = await queue.get_job_counts()
        assert (counts["waiting"], counts["active"], counts["failed"]) == (3, 0, 0)


async def _active(queue: AnyQueue, count: int) -> bool:
    return (await queue.get_job_counts())["active"] == count


@kinds
async def test_closing_runs_what_waits_for_company_at_once(
    server: ValkeyServer, queue_name: str, kind: str
) -> None:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        jobs = await queue.add_bulk([("n", n) for n in range(2)])
        worker = Worker[Any, Any](
            queue_name,
            as_kind(kind, lambda batch: [job.data for job in batch]),
            connection=server.url,
            batch=Batch(10, timeout=3600),
        )
        await worker.start()
        await eventually(lambda: _active(queue, 2), "both are in hand")
        await worker.close()
        assert await finished(jobs) == [("completed", 0), ("completed", 1)]


@kinds
async def test_events_tell_of_each_job_of_a_batch(server: ValkeyServer, queue_name: str, kind: str) -> None:
    told: list[tuple[Any, ...]] = []

    def mixed(jobs: Jobs) -> None:
        raise BatchError([job.data if job.data != 2 else ValueError("no") for job in jobs])

    async with AnyQueue(queue_name, connection=server.url) as queue:
        jobs = await queue.add_bulk([("n", n) for n in (1, 2)])
        worker = Worker[Any, Any](queue_name, as_kind(kind, mixed), connection=server.url, batch=Batch(5))

        @worker.on("active")
        def _(job: Job[Any, Any]) -> None:
            told.append(("active", job.id))

        @worker.on("completed")
        def _(job: Job[Any, Any], result: Any) -> None:
            told.append(("completed", job.id, result))

        @worker.on("failed")
        def _(job: Job[Any, Any], error: BaseException) -> None:
            told.append(("failed", job.id, str(error)))

        async with worker:
            await finished(jobs)
    assert sorted(told) == [("active", "1"), ("active", "2"), ("completed", "1", 1), ("failed", "2", "no")]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (Batch(0), "batch.size must be an integer between 1 and 1000"),
        (Batch(1001), "batch.size must be an integer between 1 and 1000"),
        (Batch(True), "batch.size must be an integer between 1 and 1000"),
        (Batch(2.0), "batch.size must be an integer between 1 and 1000"),  # type: ignore[arg-type]
        (Batch(2, timeout=-1), "batch.timeout must be a non-negative finite number"),
        (Batch(2, timeout=float("nan")), "batch.timeout must be a non-negative finite number"),
        ({"timeout": 1}, "batch needs a size"),
        ({"sise": 1}, "did you mean 'size'"),
        (5, "batch must be a Batch or a mapping with its fields"),
    ],
)
def test_a_bad_batch_is_refused_at_once(batch: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Worker("q", lambda jobs: jobs, connection="valkey://localhost", batch=batch)
    with pytest.raises(ValidationError, match=message):
        App().processor("q", batch=batch)


def test_an_annotation_of_one_job_is_refused_for_a_batch() -> None:
    app = App()

    @app.processor("q", batch=Batch(2))
    def one(job: Job[int, int]) -> list[int]:
        return [job.data]

    with pytest.raises(ConfigurationError, match=r"annotate it list\[Job"):
        app.manifest()
