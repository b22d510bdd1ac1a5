"""A job's own lock counts: it is kept alive at half of it, and taken from a dead host at it, whatever the intervals."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glidemq import Job, Queue, Worker
from tests.testkit.effects import History
from tests.testkit.process_tree import send, state_of
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

LOCK_S = 1
# The default: a host that looks no more often than this would find the job after half a minute.
STALLED_INTERVAL_S = 30
FOUND_WITHIN_S = 6

AnyQueue = Queue[Any, Any]
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "effects")


@pytest.fixture
def launch(own_server: ValkeyServer, tmp_path: Path, history: History) -> Iterator[Callable[..., Runtime]]:
    made: list[Runtime] = []

    def start(**settings: Any) -> Runtime:
        runtime = Runtime(
            tmp_path / f"runtime-{len(made)}",
            "tests.promises.lock_app:app",
            url=own_server.url,
            effects=tmp_path / "effects",
            arguments=["--procs", "1"],
            settings={"stalled_interval": STALLED_INTERVAL_S, **settings},
        )
        made.append(runtime)
        return runtime.start()

    yield start
    for runtime in made:
        runtime.clean_up()


@pytest.fixture
async def bystander(own_server: ValkeyServer) -> AsyncIterator[Callable[[str], Any]]:
    """Another host of the queue, which has started before, and which is busy: it sees nothing of what others start."""
    release = asyncio.Event()
    workers: list[Worker[Any, Any]] = []

    async def process(job: Job[Any, Any]) -> str:
        if job.name == "keep busy":
            await release.wait()
        return "bystander"

    async def start(queue: str) -> Callable[[], None]:
        worker = Worker[Any, Any](
            queue, process, connection=own_server.url, concurrency=1, stalled_interval=STALLED_INTERVAL_S
        )
        workers.append(worker)
        await worker.start()
        async with AnyQueue(queue, connection=own_server.url) as producer:
            job = await producer.add("keep busy", None)
            assert job is not None
            await eventually(job.is_active, "the other host is busy")
        return release.set

    yield start
    release.set()
    for worker in workers:
        await worker.close()


async def freeze(runtime: Runtime) -> None:
    tree = runtime.tree()
    send(tree, signal.SIGSTOP)
    await eventually(lambda: all(state_of(pid) == "T" for pid in tree), "every process is stopped")


@KINDS
@pytest.mark.parametrize("options", [{}, {"lifo": True}, {"priority": 5}], ids=["fifo", "lifo", "priority"])
async def test_job_of_a_frozen_host_is_found_at_its_own_lock(
    launch: Callable[..., Runtime],
    bystander: Callable[[str], Any],
    own_server: ValkeyServer,
    history: History,
    kind: str,
    options: dict[str, Any],
) -> None:
    name = f"{kind}-locks"
    idle = await bystander(name)  # its first look at the queue is over long before the other host is up
    runtime = await launch().ready()
    async with AnyQueue(name, connection=own_server.url) as queue:
        job = await queue.add("hold", {"seconds": 0}, lock_duration=LOCK_S, **options)
        assert job is not None
        await eventually(lambda: history.runs_of(job.id, name), "the job runs")
        await freeze(runtime)
        frozen_at = time.monotonic()
        idle()
        assert await job.wait_until_finished(poll=0.02, timeout=20) == "completed"
        found_after_s = time.monotonic() - frozen_at
        assert (job.return_value, job.stalled_count) == ("bystander", 1)
        assert found_after_s < FOUND_WITHIN_S


@KINDS
async def test_live_job_outlasts_its_lock_many_times(
    launch: Callable[..., Runtime],
    bystander: Callable[[str], Any],
    own_server: ValkeyServer,
    history: History,
    kind: str,
) -> None:
    name = f"{kind}-locks"
    idle = await bystander(name)
    await launch().ready()
    history.open_gate("end")
    async with AnyQueue(name, connection=own_server.url) as queue:
        job = await queue.add("hold", {"seconds": 4 * LOCK_S}, lock_duration=LOCK_S)
        assert job is not None
        await eventually(lambda: history.runs_of(job.id, name), "the job runs")
        idle()
        assert await job.wait_until_finished(poll=0.02, timeout=20) == "completed"
        assert (job.return_value, job.stalled_count) == ("done", 0)
        assert len(history.runs_of(job.id, name)) == 1


async def test_job_with_a_longer_lock_than_its_worker_s_is_left_alone_meanwhile(
    launch: Callable[..., Runtime],
    bystander: Callable[[str], Any],
    own_server: ValkeyServer,
    history: History,
) -> None:
    name = "async-locks"
    idle = await bystander(name)
    runtime = await launch(lock_duration=1).ready()
    async with AnyQueue(name, connection=own_server.url) as queue:
        long = await queue.add("hold", {"seconds": 0}, lock_duration=60)
        short = await queue.add("hold", {"seconds": 0}, lock_duration=LOCK_S)
        assert long is not None and short is not None
        await eventually(lambda: len(history.running(name)) == 2, "both jobs run")
        await freeze(runtime)
        idle()
        assert await short.wait_until_finished(poll=0.02, timeout=20) == "completed"
        await long.refresh()
        assert (await long.get_state(), long.stalled_count) == ("active", 0)
