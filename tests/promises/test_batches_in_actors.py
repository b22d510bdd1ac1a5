"""Batch processors in actor processes: gathering, time limits, crashes, drains, all through the supervisor."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glidemq import Queue
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

AnyQueue = Queue[Any, Any]
StartRuntime = Callable[..., Runtime]
kinds = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture
def start_runtime(own_server: ValkeyServer, tmp_path: Path) -> Iterator[StartRuntime]:
    """`start_runtime(procs=1)`: the runtime over the batch app."""
    made: list[Runtime] = []

    def start(*, procs: int = 1, **settings: Any) -> Runtime:
        runtime = Runtime(
            tmp_path / "runtime",
            "tests.promises.batch_app:app",
            url=own_server.url,
            effects=tmp_path / "effects",
            arguments=["--procs", str(procs)],
            settings=settings,
        )
        made.append(runtime)
        return runtime.start()

    yield start
    for runtime in made:
        runtime.clean_up()


async def ends(jobs: list[Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for job in jobs:
        state = await job.wait_until_finished(poll=0.01)
        found.append((state, job.return_value if state == "completed" else job.failed_reason))
    return found


async def has(queue: AnyQueue, **wanted: int) -> bool:
    counts = await queue.get_job_counts()
    return all(counts[state] == count for state, count in wanted.items())


async def progress_of(queue: AnyQueue, job_id: str) -> Any:
    job = await queue.get_job(job_id)
    return job is not None and job.progress


@kinds
async def test_jobs_are_gathered_into_full_batches_and_end_one_by_one(
    start_runtime: StartRuntime, own_server: ValkeyServer, kind: str
) -> None:
    async with AnyQueue(f"{kind}-batches", connection=own_server.url) as queue:
        jobs = await queue.add_bulk(
            [("n", {"fails": "odd"} if n % 2 else {}, {"attempts": 2 if n == 1 else 1}) for n in range(40)]
        )
        await start_runtime().ready()
        found = await ends(jobs)
        assert found[1::2] == [("failed", "odd")] * 20
        sizes = [len(value["with"]) for _, value in found[::2]]
        assert max(sizes) == 10 and sum(size == 10 for size in sizes) >= 10
        assert all(job.id in value["with"] for job, (_, value) in zip(jobs[::2], found[::2], strict=True))
        assert [job.attempts_made for job in jobs[1:4:2]] == [2, 1]


@kinds
async def test_jobs_that_come_one_by_one_run_together_with_two_actors_too(
    start_runtime: StartRuntime, own_server: ValkeyServer, kind: str
) -> None:
    await start_runtime(procs=2).ready()
    async with AnyQueue(f"{kind}-batches", connection=own_server.url) as queue:
        jobs: list[Any] = []
        for _ in range(5):
            jobs.append(await queue.add("n", {}))
        assert {tuple(value["with"]) for _, value in await ends(jobs)} == {("1", "2", "3", "4", "5")}


@kinds
async def test_jobs_of_a_batch_that_died_together_run_again_alone_and_only_the_culprit_is_charged(
    start_runtime: StartRuntime, own_server: ValkeyServer, kind: str
) -> None:
    async with AnyQueue(f"{kind}-batches", connection=own_server.url) as queue:
        jobs = await queue.add_bulk([("n", {"fatal": n == 1}) for n in range(4)])
        runtime = await start_runtime().ready()
        found = await ends(jobs)
        assert found[1] == ("failed", "worker process killed by SIGKILL 3 times")
        for job, (state, value) in list(zip(jobs, found, strict=True))[::2]:
            assert (state, value["with"], job.attempts_made) == ("completed", [job.id], 0)
        assert runtime.lines("each of them runs again alone, uncharged")


@kinds
async def test_a_batch_that_overruns_fails_as_a_whole_and_the_next_one_runs(
    start_runtime: StartRuntime, own_server: ValkeyServer, kind: str
) -> None:
    async with AnyQueue(f"{kind}-batches", connection=own_server.url) as queue:
        jobs = await queue.add_bulk([("n", {"seconds": 60}), ("n", {}, {"timeout": 0.2}), ("n", {})])
        runtime = await start_runtime().ready()
        assert await ends(jobs) == [("failed", "Batch timeout exceeded")] * 3
        assert runtime.lines("-batches' overran its timeout of 0.2 s")
        last = [await queue.add("n", {})]
        assert (await ends(last))[0][0] == "completed"


async def test_a_batch_that_ignores_its_time_limit_is_ended_with_its_process_and_fails_as_a_whole(
    start_runtime: StartRuntime, own_server: ValkeyServer
) -> None:
    async with AnyQueue("sync-batches", connection=own_server.url) as queue:
        jobs = await queue.add_bulk([("n", {"stubborn": True}, {"timeout": 0.2}), ("n", {}), ("n", {})])
        runtime = await start_runtime(kill_grace=0.2).ready()
        assert await ends(jobs) == [("failed", "Batch timeout exceeded")] * 3
        assert runtime.lines("overran its timeout")
        last = [await queue.add("n", {})]
        assert (await ends(last))[0][0] == "completed"


@kinds
async def test_what_waits_behind_a_long_batch_is_not_fetched_from_the_queue(
    start_runtime: StartRuntime, own_server: ValkeyServer, kind: str
) -> None:
    await start_runtime().ready()
    async with AnyQueue(f"{kind}-batches", connection=own_server.url) as queue:
        lanes = 1 if kind == "sync" else 2
        for lane in range(lanes):
            job = await queue.add("long", {"seconds": 3 if kind == "sync" else 6})
            assert job is not None
            # One that has started is joined by nobody any more.
            await eventually(lambda job=job: progress_of(queue, job.id), f"batch {lane} runs")  # type: ignore[misc]
        behind = await queue.add_bulk([("n", {}) for _ in range(3)])
        await eventually(lambda: has(queue, active=lanes, waiting=3), "they are left to other hosts")
        assert [state for state, _ in await ends(behind)] == ["completed"] * 3


async def test_a_sync_actor_does_not_wait_for_company_while_there_is_other_work(
    start_runtime: StartRuntime, own_server: ValkeyServer
) -> None:
    await start_runtime().ready()
    async with (
        AnyQueue("sync-patient", connection=own_server.url) as patient,
        AnyQueue("sync-single", connection=own_server.url) as single,
    ):
        jobs = await patient.add_bulk([("n", {}) for _ in range(3)])
        await eventually(lambda: has(patient, active=3), "they wait for others")
        other = await single.add("n", {})
        assert (await ends([other]))[0][0] == "completed"
        assert {tuple(value["with"]) for _, value in await ends(jobs)} == {("1", "2", "3")}


@kinds
async def test_draining_gives_back_or_runs_what_waits_for_company(
    start_runtime: StartRuntime, own_server: ValkeyServer, kind: str
) -> None:
    runtime = await start_runtime().ready()
    async with AnyQueue(f"{kind}-patient", connection=own_server.url) as queue:
        await queue.add_bulk([("n", {}) for _ in range(3)])
        await eventually(lambda: has(queue, active=3), "they wait for others")
        assert runtime.stop(within_s=10) == 0
        counts = await queue.get_job_counts()
        assert counts["waiting"] + counts["completed"] == 3
        assert counts["active"] == counts["failed"] == 0


@kinds
async def test_a_new_gateway_knows_the_jobs_of_the_batches_that_run(
    start_runtime: StartRuntime, own_server: ValkeyServer, kind: str
) -> None:
    async with AnyQueue(f"{kind}-batches", connection=own_server.url) as queue:
        jobs = await queue.add_bulk([("n", {"seconds": 0.3 if kind == "sync" else 1.5}) for _ in range(5)])
        runtime = await start_runtime().ready()
        await eventually(lambda: has(queue, active=5), "the batch runs")
        before = runtime.gateway
        os.kill(before, signal.SIGKILL)
        await runtime.replaced("gateway 0", before)
        assert {tuple(value["with"]) for _, value in await ends(jobs)} == {("1", "2", "3", "4", "5")}
        assert [job.attempts_made for job in jobs] == [0] * 5
