"""Starting, pausing and closing a worker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
import valkey

from glidemq import Backoff, ClosedError, ConnectionError, Job, Queue, SharedClient, ValidationError, Worker
from tests.testkit.server import ValkeyServer, free_port
from tests.testkit.waiting import eventually

Start = Callable[..., Any]
NO_SERVER = f"valkey://127.0.0.1:{free_port()}"


async def nothing(job: Job[Any, Any]) -> None:
    return None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"concurrency": 0}, "concurrency must be between 1 and 10000"),
        ({"concurrency": True}, "concurrency must be an integer"),
        ({"lock_duration": 30_000}, "lock_duration"),
        ({"block": 5000}, "block"),
        ({"block": 10.1}, "block must be at most 10 seconds"),
        ({"block": 0}, "block must be a positive"),
        ({"stalled_interval": 30_000}, "stalled_interval"),
        ({"promotion_interval": 0}, "promotion_interval"),
        ({"max_stalled_count": -1}, "max_stalled_count must be an integer of at least 0"),
        ({"timeout": -1}, "timeout"),
    ],
)
def test_bad_options_are_refused_before_anything_connects(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Worker("q", nothing, connection=NO_SERVER, **arguments)


def test_a_bad_queue_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="must not contain curly braces or colons"):
        Worker("a:b", nothing, connection=NO_SERVER)


async def test_both_names_for_the_shared_client_are_refused(server: ValkeyServer) -> None:
    async with await SharedClient.connect(server.url) as client:
        with pytest.raises(ValidationError, match="Provide either `client` or `command_client`, not both"):
            Worker("q", nothing, connection=server.url, client=client, command_client=client)
        with pytest.raises(ValidationError, match="Worker always requires `connection`"):
            Worker("q", nothing, client=client)


async def test_a_server_that_cannot_be_reached_is_said_at_the_start() -> None:
    worker = Worker[Any, Any]("q", nothing, connection=NO_SERVER)
    with pytest.raises(ConnectionError, match="cannot be reached"):
        await worker.start()
    await worker.close()


async def test_a_worker_has_two_connections_and_leaves_nothing(
    server: ValkeyServer, raw: valkey.Valkey, queue: Queue[Any, Any], start_worker: Start
) -> None:
    before = {client["id"] for client in raw.client_list()}
    worker = await start_worker(nothing)

    def opened() -> list[str]:
        return sorted(client["name"] for client in raw.client_list() if client["id"] not in before)

    await eventually(lambda: len(opened()) > 1, what="the blocking read's connection")
    assert opened() == ["glidemq-reader", "glidemq-worker"]
    key = f"glide:{{{queue.name}}}:w:{worker.id}"
    assert raw.pttl(key) > 0
    await worker.close()
    assert not raw.exists(key)
    await eventually(
        lambda: {client["id"] for client in raw.client_list()} <= before, what="closed connections"
    )
    consumers = raw.xinfo_consumers(queue.keys.stream, "workers")
    assert worker.id.encode() not in [consumer["name"] for consumer in consumers]


async def test_a_shared_client_outlives_the_worker(server: ValkeyServer, queue: Queue[Any, Any]) -> None:
    async with await SharedClient.connect(server.url) as client:
        async with Worker[Any, Any](queue.name, nothing, connection=server.url, client=client):
            pass
        async with Queue[Any, Any](queue.name, client=client) as borrowed:
            assert await borrowed.add("still", None) is not None


async def test_close_waits_for_running_jobs(queue: Queue[Any, Any], start_worker: Start) -> None:
    started = asyncio.Event()
    release = asyncio.Event()

    async def process(job: Job[Any, Any]) -> str:
        started.set()
        await release.wait()
        return "done"

    job = await queue.add("a", None)
    assert job is not None
    worker = await start_worker(process)
    await started.wait()
    closing = asyncio.create_task(worker.close())
    assert not closing.done()
    release.set()
    await closing
    await job.refresh()
    assert job.return_value == "done"
    await worker.close()  # twice is fine
    with pytest.raises(ClosedError):
        await worker.start()


async def test_a_forced_close_gives_running_coroutines_back_uncharged(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    started = asyncio.Event()

    async def process(job: Job[Any, Any]) -> None:
        started.set()
        await asyncio.sleep(60)

    job = await queue.add("a", None)
    assert job is not None
    worker = await start_worker(process)
    await started.wait()
    await worker.close(force=True)
    await job.refresh()
    assert (await job.get_state(), job.attempts_made) == ("waiting", 0)

    await start_worker(nothing)
    await eventually(job.is_completed, what="the second worker's completion")


async def test_a_worker_drains_its_queue_and_closes(queue: Queue[Any, Any], server: ValkeyServer) -> None:
    async def process(job: Job[Any, Any]) -> None:
        if job.data == "flaky" and job.attempts_made < 2:
            raise ValueError("again")
        if job.data == "adds one":
            await queue.add("a", "late", delay=0.05)

    await queue.add_bulk([("a", number) for number in range(50)])
    await queue.add("a", "adds one", priority=5)
    await queue.add("a", "flaky", lifo=True, attempts=3, backoff=Backoff.fixed(0.05))
    ordered = [("a", "ordered", {"ordering": {"key": "k"}})] * 3
    await queue.add_bulk(ordered)  # type: ignore[arg-type]
    worker = Worker[Any, Any](queue.name, process, connection=server.url, concurrency=5)
    await worker.drain()
    assert not worker.is_running()
    counts = await queue.get_job_counts()
    assert {state: number for state, number in counts.items() if number} == {"completed": 56}
    with pytest.raises(ClosedError):
        await worker.drain()


async def test_a_worker_that_is_closed_drains_no_more(queue: Queue[Any, Any], server: ValkeyServer) -> None:
    await queue.add("a", None, delay=3600)
    worker = Worker[Any, Any](queue.name, nothing, connection=server.url)
    draining = asyncio.create_task(worker.drain())
    await eventually(worker.is_running, "it has started")
    assert not draining.done()
    await worker.close()
    await draining
    assert (await queue.get_job_counts())["delayed"] == 1


async def test_a_paused_worker_fetches_nothing_until_it_resumes(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    worker = await start_worker(nothing)
    await worker.pause()
    assert worker.is_paused()
    job = await queue.add("a", None)
    assert job is not None
    assert await job.is_waiting()
    await worker.resume()
    await eventually(job.is_completed, what="completion after the resume")


async def test_a_paused_worker_keeps_no_job_from_others(queue: Queue[Any, Any], start_worker: Start) -> None:
    """Its blocking read may still be in progress, and claim the next job that comes."""
    paused = await start_worker(nothing, block=10)
    await eventually(lambda: paused._cell.readers.blocking, "the blocking read")
    started: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        started.append(job.id)

    await paused.pause()
    jobs = await queue.add_bulk([("a", None)] * 3)
    await start_worker(process)
    await eventually(lambda: len(started) == len(jobs), "the other worker gets them all", within_s=5)


async def test_a_paused_queue_starts_nothing_on_any_worker(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    started: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        started.append(job.id)

    await queue.pause()
    await start_worker(process, promotion_interval=0.02)
    await start_worker(process, promotion_interval=0.02)
    jobs = await queue.add_bulk([("a", None)] * 5)
    # Several promotion intervals, observed on the server, pass without a start.
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        assert (await queue.get_job_counts())["waiting"] == 5
    assert started == []
    await queue.resume()
    await eventually(lambda: len(started) == len(jobs), what="5 starts after the resume")


async def test_events_tell_what_the_server_has_accepted(queue: Queue[Any, Any], start_worker: Start) -> None:
    told: list[tuple[Any, ...]] = []

    async def process(job: Job[Any, Any]) -> str:
        if job.data == "bad":
            raise ValueError("boom")
        return "fine"

    worker = await start_worker(process)
    states: list[str] = []

    @worker.on("active")
    def active(job: Job[Any, Any]) -> None:
        told.append(("active", job.data))

    @worker.on("completed")
    async def completed(job: Job[Any, Any], result: str) -> None:
        states.append(await job.get_state())
        told.append(("completed", job.data, result))

    worker.on("failed", lambda job, error: told.append(("failed", job.data, str(error))))
    worker.on("drained", lambda: told.append(("drained",)))
    worker.on("closed", lambda: told.append(("closed",)))
    with pytest.raises(ValidationError, match="unknown worker event"):
        worker.on("done", print)
    await queue.add("a", "good")
    await eventually(lambda: ("drained",) in told, what="the drained event")
    await queue.add("a", "bad")
    await eventually(lambda: any(event[0] == "failed" for event in told), what="the failed event")
    await worker.close()
    assert told[0] == ("active", "good")
    assert ("completed", "good", "fine") in told
    assert ("failed", "bad", "boom") in told
    assert told[-1] == ("closed",)
    assert states == ["completed"]


async def test_abort_job_sets_the_signal_and_the_job_fails_as_revoked(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    started = asyncio.Event()

    async def process(job: Job[Any, Any]) -> str:
        started.set()
        await job.abort_signal.wait()
        return "too late"

    job = await queue.add("a", None, attempts=3)
    assert job is not None
    worker = await start_worker(process)
    await started.wait()
    assert worker.abort_job(job.id)
    assert not worker.abort_job("no such job")
    await eventually(job.is_failed, what="the failure")
    await job.refresh()
    assert (job.failed_reason, job.return_value) == ("revoked", None)


async def test_run_returns_when_a_handler_closes_the_worker(
    queue: Queue[Any, Any], server: ValkeyServer
) -> None:
    worker = Worker[Any, Any](queue.name, nothing, connection=server.url)
    worker.on("completed", lambda job, result: asyncio.ensure_future(worker.close()))
    await queue.add("a", None)
    async with asyncio.timeout(20):
        await worker.run()
    assert not worker.is_running()


async def test_a_forced_close_reaches_a_job_before_its_first_step(
    queue: Queue[Any, Any], start_worker: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await start_worker(nothing)
    link = worker._link
    dispatch, cancelled = link.dispatch, []

    def dispatch_and_cancel(pump: Any, leases: Any) -> None:
        dispatch(pump, leases)
        if leases and not cancelled:
            cancelled.extend(leases)
            link.cancel_running()

    monkeypatch.setattr(link, "dispatch", dispatch_and_cancel)
    job = await queue.add("a", None)
    assert job is not None
    await eventually(job.is_completed, what="the run after the one that was cancelled")
    await job.refresh()
    assert (len(cancelled), job.attempts_made) == (1, 0)
    await worker.close()


async def test_a_revoked_job_of_a_worker_that_is_closed_by_force_is_not_said_to_have_crashed(
    queue: Queue[Any, Any], start_worker: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "glidemq.cell")
    running = asyncio.Event()

    async def process(job: Job[Any, Any]) -> None:
        running.set()
        await asyncio.Event().wait()

    worker: Worker[Any, Any] = await start_worker(process)
    job = await queue.add("job", None)
    assert job is not None
    await running.wait()
    assert await queue.revoke(job.id) == "flagged"
    await worker.close(force=True)  # before it has heard of that
    await job.refresh()
    assert (await job.get_state(), job.failed_reason) == ("failed", "revoked")
    assert "was revoked: it has failed" in caplog.text
    assert "killed its process" not in caplog.text
