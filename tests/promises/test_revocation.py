"""A revoked job never completes: waiting ones fail at once; running ones hear of it within a second, from any host."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from glidemq import Job, Queue, SyncJob, ValidationError, Worker
from tests.testkit.effects import History
from tests.testkit.process_tree import is_gone
from tests.testkit.runtime import Clock, Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.control_app:app"
KINDS = ["sync", "async"]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    async with Queue[Any, Any](queue_name, connection=server.url) as made:
        yield made


async def nothing(job: Job[Any, Any]) -> None:
    return None


# -- jobs that nobody runs


@pytest.mark.parametrize(
    "options",
    [{}, {"delay": 60}, {"priority": 3}, {"lifo": True}, {"delay": 60, "priority": 3}],
    ids=["waiting", "delayed", "prioritized", "lifo", "delayed and prioritized"],
)
async def test_a_job_that_has_not_started_fails_at_once(
    queue: Queue[Any, Any], server: ValkeyServer, options: dict[str, Any]
) -> None:
    job = await queue.add("job", None, **options)  # type: ignore[misc]
    assert job is not None
    assert await queue.revoke(job.id, force_after=1) == "revoked"
    await job.refresh()
    assert (await job.get_state(), job.failed_reason) == ("failed", "revoked")
    assert await queue.revoke(job.id) == "revoked", "saying it twice changes nothing"
    last = await queue.add("last", None)
    assert last is not None
    async with Worker[Any, Any](queue.name, nothing, connection=server.url):
        await last.wait_until_finished(poll=0.01)
    assert await job.get_state() == "failed"


async def test_a_job_that_its_group_holds_back_fails_and_lets_the_next_one_go(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    order: list[str] = []
    go_on = asyncio.Event()

    async def process(job: Job[Any, Any]) -> None:
        order.append(job.name)
        await go_on.wait()

    jobs = [await queue.add(name, None, ordering={"key": "a"}) for name in ("first", "second", "third")]
    async with Worker[Any, Any](queue.name, process, connection=server.url, concurrency=5):
        first, second, third = (job for job in jobs if job is not None)
        await eventually(lambda: _is(third, "group-waiting"), "the others wait")
        assert await queue.revoke(second.id) == "revoked"
        go_on.set()
        await third.wait_until_finished(poll=0.01)
        assert await first.get_state() == "completed"
    assert order == ["first", "third"]


async def test_a_suspended_job_fails_at_once(queue: Queue[Any, Any], server: ValkeyServer) -> None:
    async def process(job: Job[Any, Any]) -> None:
        await job.suspend(reason="approval")

    job = await queue.add("job", None)
    assert job is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        await eventually(lambda: _is(job, "suspended"), "the job is suspended")
        assert await queue.revoke(job.id) == "revoked"
        assert await job.get_state() == "failed"
        assert await queue.signal(job.id, "approve") is False


async def test_a_finished_job_stays_as_it_is_and_a_missing_one_is_not_found(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    job = await queue.add("job", None)
    assert job is not None
    async with Worker[Any, Any](queue.name, nothing, connection=server.url):
        await job.wait_until_finished(poll=0.01)
    assert await queue.revoke(job.id) == "flagged"
    assert await job.get_state() == "completed"
    assert await queue.revoke("4711") == "not_found"


# -- running jobs


@pytest.mark.parametrize("kind", KINDS)
async def test_a_running_job_hears_of_it_within_a_second_from_another_host(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str
) -> None:
    name = f"{kind}-long"
    async with Queue[Any, Any](name, connection=own_server.url) as queue:
        await launch(APP, "--procs", "2").ready()
        job = await queue.add("job", {}, attempts=5)
        assert job is not None
        await eventually(lambda: history.runs_of(job.id), "the job runs")
        clock = Clock(f"revocation of a running {kind} job")
        assert await queue.revoke(job.id) == "flagged"
        (run,) = await eventually(lambda: [r for r in history.runs_of(job.id) if r.ended], "it stops")
        assert clock.note("abort signal seen", run.ended) < 1.0
        assert await job.wait_until_finished(poll=0.01) == "failed"
        assert (job.failed_reason, len(history.runs_of(job.id))) == ("revoked", 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_running_job_that_a_node_client_revoked_hears_of_it_within_a_second(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str
) -> None:
    name = f"{kind}-long"
    async with Queue[Any, Any](name, connection=own_server.url) as queue:
        await launch(APP, "--procs", "2").ready()
        job = await queue.add("job", {})
        assert job is not None
        await eventually(lambda: history.runs_of(job.id), "the job runs")
        clock = Clock(f"revocation of a running {kind} job by a mark alone")
        # All that Node's function does to a job that is active, beside its event.
        own_server.client().hset(queue.keys.job(job.id), "revoked", "1")
        (run,) = await eventually(lambda: [r for r in history.runs_of(job.id) if r.ended], "it stops")
        assert clock.note("abort signal seen", run.ended) < 1.0
        assert await job.wait_until_finished(poll=0.01) == "failed"
        assert job.failed_reason == "revoked"


async def test_marks_are_seen_however_many_jobs_a_worker_runs(
    queue: Queue[Any, Any], server: ValkeyServer, raw: Any
) -> None:
    started: list[str] = []
    stopped: set[str] = set()

    async def process(job: Job[Any, Any]) -> None:
        started.append(job.id)
        await job.abort_signal.wait()
        stopped.add(job.id)

    jobs = await queue.add_bulk([("job", None)] * 1500)
    worker = Worker[Any, Any](queue.name, process, connection=server.url, concurrency=1500)
    async with worker:
        await eventually(lambda: len(started) == 1500, "all run")
        for job in (jobs[0], jobs[749], jobs[-1]):
            raw.hset(queue.keys.job(job.id), "revoked", "1")
        await eventually(lambda: len(stopped) == 3, "three have stopped")
        assert stopped == {jobs[0].id, jobs[749].id, jobs[-1].id}
        await worker.close(force=True)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_worker_s_job_hears_of_it_within_a_second(
    queue: Queue[Any, Any], server: ValkeyServer, kind: str
) -> None:
    started = threading.Event()
    aborted: list[float] = []

    def process_sync(job: SyncJob[Any, Any]) -> None:
        started.set()
        while not job.abort_signal.aborted:
            time.sleep(0.005)
        aborted.append(time.monotonic())

    async def process(job: Job[Any, Any]) -> None:
        started.set()
        await job.abort_signal.wait()
        aborted.append(time.monotonic())

    job = await queue.add("job", None, attempts=3)
    assert job is not None
    function: Callable[[Any], Any] = process if kind == "async" else process_sync
    async with Worker[Any, Any](queue.name, function, connection=server.url) as worker:
        failed: list[str] = []
        worker.on("failed", lambda job, error: failed.append(job.id))
        await eventually(started.is_set, "the job runs")
        revoked = time.monotonic()
        assert await queue.revoke(job.id) == "flagged"
        assert await job.wait_until_finished(poll=0.01) == "failed"
        assert aborted[0] - revoked < 1.0
        assert job.failed_reason == "revoked"
        await eventually(lambda: failed == [job.id], "the event of the failure")


# -- by force


@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_that_does_not_stop_is_ended_by_force_and_no_crash_is_charged(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str
) -> None:
    name = f"{kind}-long"
    async with Queue[Any, Any](name, connection=own_server.url) as queue:
        runtime = await launch(APP, "--procs", "2").ready()
        job = await queue.add("job", {"stubborn": True}, attempts=5)
        assert job is not None
        (run,) = await eventually(lambda: history.runs_of(job.id), "the job runs")
        clock = Clock(f"forced end of a {kind} job")
        assert await queue.revoke(job.id, force_after=0.5) == "flagged"
        assert await job.wait_until_finished(poll=0.01) == "failed"
        assert 0.4 < clock.note("failed") < 2.5
        assert (job.failed_reason, len(history.runs_of(job.id))) == ("revoked", 1)
        raw = own_server.client()
        assert raw.hget(f"glide:{{{name}}}:job:{job.id}", "x-py:crashes") is None
        raw.close()
        if kind == "sync":
            await eventually(lambda: is_gone(run.pid), "its process is killed")
            await runtime.logged("on purpose (revoked)")
        else:
            assert not is_gone(run.pid), "a coroutine is cancelled, its process goes on"
        again = await queue.add("again", {})
        assert again is not None
        await eventually(lambda: history.runs_of(again.id), "the queue is served as before")


async def test_a_worker_s_coroutine_is_cancelled_by_force(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def process(job: Job[Any, Any]) -> None:
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    job = await queue.add("job", None, attempts=3)
    assert job is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        await started.wait()
        await queue.revoke(job.id, force_after=0)
        assert await job.wait_until_finished(poll=0.01, timeout=10) == "failed"
        assert job.failed_reason == "revoked"
        assert cancelled.is_set()


async def test_a_worker_s_thread_is_given_up_by_force_and_counts_until_it_returns(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    started, release = threading.Event(), threading.Event()

    def process(job: SyncJob[Any, Any]) -> str:
        if job.name == "stubborn":
            started.set()
            release.wait(30)
        return "done"

    job = await queue.add("stubborn", None, attempts=3)
    assert job is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        try:
            await eventually(started.is_set, "the job runs")
            await queue.revoke(job.id, force_after=0)
            assert await job.wait_until_finished(poll=0.01, timeout=10) == "failed"
            later = await queue.add("later", None)
            assert later is not None
            assert await later.get_state() == "waiting"
        finally:
            release.set()
        assert await later.wait_until_finished(poll=0.01) == "completed"
    assert await job.get_state() == "failed", "the late result is void"


async def test_a_job_that_stops_in_time_is_not_ended_by_force(
    queue: Queue[Any, Any], server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    started = asyncio.Event()

    async def process(job: Job[Any, Any]) -> None:
        started.set()
        await job.abort_signal.wait()

    job = await queue.add("job", None)
    assert job is not None
    async with Worker[Any, Any](queue.name, process, connection=server.url):
        await started.wait()
        await queue.revoke(job.id, force_after=60)
        assert await job.wait_until_finished(poll=0.01, timeout=10) == "failed"
    assert "has not stopped" not in caplog.text


@pytest.mark.parametrize("force_after", [-1, float("nan"), "1", True])
async def test_a_time_of_force_that_is_none_is_refused(force_after: Any) -> None:
    async with Queue[Any, Any]("nowhere", connection="valkey://127.0.0.1:9") as queue:
        with pytest.raises(ValidationError, match="force_after must be a non-negative finite number"):
            await queue.revoke("1", force_after=force_after)


async def _is(job: Job[Any, Any], state: str) -> bool:
    return await job.get_state() == state
