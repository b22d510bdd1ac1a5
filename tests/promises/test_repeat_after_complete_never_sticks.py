"""A repeat_after_complete scheduler goes on after every end of a run, and its runs never overlap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from glidemq import Job, Queue, UnrecoverableError, Worker
from glidemq.client.schedulers import Schedulers
from glidemq.commands.keys import QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection
from glidemq.options.schedule import Schedule
from glidemq.options.scheduler_entry import SchedulerEntry
from glidemq.payload import Payload
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

INTERVAL_S = 0.05


@pytest.fixture
async def connection(own_server: ValkeyServer) -> AsyncIterator[CommandConnection]:
    async with CommandConnection(ConnectionOptions.from_url(own_server.url)) as connection:
        yield connection


@pytest.fixture
def runtime(own_server: ValkeyServer, tmp_path: Path) -> Iterator[Runtime]:
    """Two actor processes; nothing is left of them after the test."""
    effects = History(tmp_path / "effects").directory
    made = Runtime(
        tmp_path / "runtime",
        "tests.faults.sync_app:app",
        url=own_server.url,
        effects=effects,
        arguments=["--procs", "2"],
    )
    yield made.start()
    made.clean_up()


def schedulers_of(connection: CommandConnection, queue: str) -> Schedulers:
    return Schedulers(connection, QueueKeys("glide", queue), Payload())


async def runs_of(schedulers: Schedulers, name: str) -> int:
    entry = await schedulers.get(name)
    assert entry is not None, f"scheduler {name} is gone"
    return entry.iteration_count


async def test_runs_that_end_in_every_way_follow_each_other_without_overlap(
    own_server: ValkeyServer, connection: CommandConnection
) -> None:
    schedulers = schedulers_of(connection, "q")
    loop = asyncio.get_running_loop()
    spans: list[tuple[float, float]] = []

    async def poll(job: Job[Any, Any]) -> None:
        begun = loop.time()
        try:
            await asyncio.sleep(0.02)
            if len(spans) % 3 == 1:
                raise RuntimeError("failed")
            if len(spans) % 3 == 2:
                raise UnrecoverableError("hopeless")
        finally:
            spans.append((begun, loop.time()))

    async with Worker[Any, Any]("q", poll, connection=own_server.url, concurrency=5) as worker:
        await worker.start()
        await schedulers.upsert("poll", Schedule(repeat_after_complete=INTERVAL_S))
        await eventually(lambda: len(spans) >= 10, "ten runs")
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(spans)]
    # The interval counts from the recorded end, which comes after the function's.
    assert min(gaps) >= INTERVAL_S - 0.002


async def test_run_that_is_removed_while_it_is_active_is_followed(
    own_server: ValkeyServer, connection: CommandConnection
) -> None:
    schedulers = schedulers_of(connection, "q")
    gate = asyncio.Event()

    async def hold(job: Job[Any, Any]) -> None:
        await gate.wait()

    async with (
        Worker[Any, Any]("q", hold, connection=own_server.url, concurrency=2) as worker,
        Queue[Any, Any]("q", connection=own_server.url) as queue,
    ):
        await worker.start()
        await schedulers.upsert("poll", Schedule(repeat_after_complete=INTERVAL_S))

        async def is_active(job_id: str) -> bool:
            job = await queue.get_job(job_id)
            return job is not None and await job.get_state() == "active"

        await eventually(lambda: is_active("1"), "the first run is active")
        await queue.remove("1")
        await eventually(lambda: is_active("2"), "the second run follows the removed one")
        gate.set()
        await worker.close()


async def test_run_that_kills_its_processes_until_it_is_given_up_is_followed(
    runtime: Runtime, connection: CommandConnection
) -> None:
    await runtime.ready()
    schedulers = schedulers_of(connection, "sync")
    crashing = {"data": {"deeds": [["die", "SIGSEGV"]]}}
    await schedulers.upsert("crash", Schedule(repeat_after_complete=3600), crashing)
    await schedulers.upsert(
        "fail", Schedule(repeat_after_complete=INTERVAL_S), {"data": {"deeds": [["fail", "no"]]}}
    )

    async def given_up() -> SchedulerEntry | None:
        entry = await schedulers.get("crash")
        return (
            entry if entry is not None and entry.iteration_count == 1 and entry.next_run is not None else None
        )

    entry = await eventually(given_up, "the run was given up and the next one is set")
    assert entry.last_run is not None
    assert entry.next_run is not None
    assert 3600 < (entry.next_run - entry.last_run).total_seconds() < 3660
    before = await runs_of(schedulers, "fail")

    async def has_gone_on() -> bool:
        return await runs_of(schedulers, "fail") >= before + 3

    await eventually(has_gone_on, "the failing one goes on")
    assert runtime.stop() == 0
