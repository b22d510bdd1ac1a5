"""`graceful_shutdown`: a signal closes everything in order and loses nothing; the handle does so by hand."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from glidemq import (
    Broadcast,
    BroadcastWorker,
    ClosedError,
    ConfigurationError,
    Job,
    Queue,
    QueueEvents,
    SharedClient,
    ValidationError,
    Worker,
    graceful_shutdown,
)
from tests.architecture.repository import ROOT
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


@pytest.fixture
def host(server: ValkeyServer, queue_name: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.promises.shutdown_host", server.url, queue_name]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def said(host: subprocess.Popen[str], line: str) -> None:
    assert host.stdout is not None
    assert host.stdout.readline().strip() == line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_jobs_finish_and_fetches_no_more(
    server: ValkeyServer, queue_name: str, host: subprocess.Popen[str], number: signal.Signals
) -> None:
    async with (
        Queue[Any, Any](queue_name, connection=server.url) as queue,
        Queue[Any, Any](f"{queue_name}-results", connection=server.url) as results,
    ):
        await asyncio.to_thread(said, host, "ready")
        running = await queue.add_bulk([("n", 1), ("n", 2)])
        for _ in running:
            await asyncio.to_thread(said, host, "started")
        waiting = await queue.add("n", 3)
        assert waiting is not None
        host.send_signal(number)
        host.send_signal(number)  # once more changes nothing
        await results.add_bulk([("go", None, {"job_id": f"go-{job.id}", "delay": 3600}) for job in running])
        await asyncio.to_thread(said, host, "closed")
        assert await asyncio.to_thread(host.wait, 20) == 0
        assert [await job.get_state() for job in running] == ["completed", "completed"]
        assert await waiting.get_state() == "waiting"
        assert sorted(job.data for job in await results.get_jobs("waiting")) == [1, 2]
        assert await queue.get_workers() == []


async def nothing(job: Job[Any, Any]) -> None:
    return None


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


async def test_by_hand_everything_is_closed_once_and_the_signals_are_given_back(
    server: ValkeyServer, queue_name: str
) -> None:
    before = handlers()
    client = await SharedClient.connect(server.url)
    queue = Queue[Any, Any](queue_name, client=client)
    events = QueueEvents(queue_name, connection=server.url)
    worker = Worker[Any, Any](queue_name, nothing, connection=server.url, client=client)
    closed: list[str] = []
    worker.on("closed", lambda: closed.append("worker"))
    await worker.start()
    await events.wait_until_ready()
    stopping = graceful_shutdown([client, queue, events, worker])
    assert handlers() != before
    waiting = asyncio.ensure_future(_awaited(stopping))
    await asyncio.gather(stopping.shutdown(), stopping.shutdown())
    await stopping.shutdown()
    assert await waiting == "closed"
    assert closed == ["worker"]
    assert handlers() == before
    for call in (queue.count(), worker.start(), events.wait_until_ready(), client.ping()):
        with pytest.raises(ClosedError):
            await call
    stopping.dispose()


@pytest.mark.parametrize("kind", ["queue", "broadcast"])
async def test_what_runs_when_the_end_begins_may_use_a_queue_to_its_own_end(
    server: ValkeyServer, queue_name: str, kind: str
) -> None:
    results = Queue[Any, Any](f"{queue_name}-results", connection=server.url)
    started, go_on = asyncio.Event(), asyncio.Event()

    async def process(job: Job[Any, Any]) -> None:
        started.set()
        await go_on.wait()
        await results.add("result", job.data)

    worker: Any
    async with Queue[Any, Any](queue_name, connection=server.url) as queue:
        if kind == "queue":
            worker = Worker[Any, Any](queue_name, process, connection=server.url)
            await worker.start()
            await queue.add("n", 1)
        else:
            worker = BroadcastWorker[Any, Any](queue_name, process, subscription="s", connection=server.url)
            await worker.start()
            async with Broadcast[Any](queue_name, connection=server.url) as broadcast:
                await broadcast.publish("n", 1)
        await started.wait()
        stopping = graceful_shutdown([results, worker])
        worker.on("closing", go_on.set)
        await stopping.shutdown()
    async with Queue[Any, Any](results.name, connection=server.url) as looking:
        assert [job.data for job in await looking.get_jobs("waiting")] == [1]


async def _awaited(handle: Any) -> str:
    await handle
    return "closed"


async def test_disposing_closes_nothing_and_ends_the_waiting(server: ValkeyServer, queue_name: str) -> None:
    before = handlers()
    async with Queue[Any, Any](queue_name, connection=server.url) as queue:
        stopping = graceful_shutdown([queue])
        waiting = asyncio.ensure_future(_awaited(stopping))
        await asyncio.sleep(0)
        assert not waiting.done()
        stopping.dispose()
        stopping.dispose()
        assert await waiting == "closed"
        assert handlers() == before
        assert await queue.count() == 0


async def test_one_that_cannot_close_does_not_keep_the_others_open(
    server: ValkeyServer, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn:
        async def close(self) -> None:
            raise RuntimeError("not today")

    queue = Queue[Any, Any](queue_name, connection=server.url)
    stopping = graceful_shutdown([Stubborn(), queue])
    await stopping.shutdown()
    await stopping
    assert "not today" in caplog.text
    with pytest.raises(ClosedError):
        await queue.count()


async def test_giving_up_waiting_does_not_disturb_the_others(server: ValkeyServer, queue_name: str) -> None:
    queue = Queue[Any, Any](queue_name, connection=server.url)
    stopping = graceful_shutdown([queue])
    impatient, patient = (asyncio.ensure_future(_awaited(stopping)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await eventually(impatient.done, what="the cancelled waiting")
    await stopping.shutdown()
    assert await patient == "closed"


async def test_what_cannot_work_is_refused(server: ValkeyServer) -> None:
    before = handlers()
    with pytest.raises(ValidationError, match="only what has a close\\(\\) can be shut down, not 5"):
        graceful_shutdown([5])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match="must be called in the main thread"):
        await asyncio.to_thread(graceful_shutdown, [])
    errors: list[Exception] = []

    def outside() -> None:
        try:
            graceful_shutdown([])
        except ConfigurationError as error:
            errors.append(error)

    thread = threading.Thread(target=outside)
    thread.start()
    thread.join()
    assert errors
    assert handlers() == before


def test_without_an_event_loop_there_is_nothing_to_close_with() -> None:
    with pytest.raises(ConfigurationError, match="inside the running event loop"):
        graceful_shutdown([])
