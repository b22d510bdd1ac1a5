"""Pools keep slow work from occupying the processes of other work; weights divide a pool among its queues."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import valkey

from glidemq import Queue
from tests.promises.pools_app import MOVED
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

Start = Callable[..., Runtime]


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    directory = tmp_path / "effects"
    directory.mkdir()
    return directory


@pytest.fixture
def start(own_server: ValkeyServer, tmp_path: Path, effects: Path) -> Iterator[Start]:
    """`start("app", "--procs", "1")`: a runtime over one of the apps in `pools_app`."""
    made: list[Runtime] = []

    def run(app: str, *arguments: str) -> Runtime:
        runtime = Runtime(
            tmp_path / "runtime",
            f"tests.promises.pools_app:{app}",
            url=own_server.url,
            effects=effects,
            arguments=arguments,
        )
        made.append(runtime)
        return runtime.start()

    yield run
    for runtime in made:
        runtime.clean_up()


async def test_piled_up_batch_work_does_not_delay_live_work(
    start: Start, own_server: ValkeyServer, effects: Path
) -> None:
    runtime = await start("app", "--pool", "batch=3").ready()
    async with (
        Queue[Any, int]("batch", connection=own_server.url) as batch,
        Queue[Any, int]("live", connection=own_server.url) as live,
    ):
        await batch.add_bulk([("wait", n) for n in range(20)])

        async def running() -> bool:
            return (await batch.get_job_counts())["active"] >= 3

        await eventually(running, "the batch pool is full")
        answers = {await live.add_and_wait("now", n) for n in range(20)}
        assert len(answers) == 1, "one process of its own, as the app says"
        (effects / "go").touch()

        async def finished() -> bool:
            return (await batch.get_job_counts())["completed"] == 20

        await eventually(finished, "the batch is done")
        jobs = await batch.get_jobs("completed")
        pids = {job.return_value for job in jobs}
        assert len(pids) == 3, "the operator's size goes before the app's"
        assert not answers & pids
    assert runtime.stop() == 0


async def test_weights_divide_the_time_of_shared_processes(start: Start, own_server: ValkeyServer) -> None:
    runtime = start("weighted", "--procs", "1")
    async with (
        Queue[Any, str]("heavy", connection=own_server.url) as heavy,
        Queue[Any, str]("light", connection=own_server.url) as light,
    ):
        for queue in (heavy, light):
            await queue.add_bulk([("spin", n) for n in range(400)])

        async def done() -> bool:
            return (await heavy.get_job_counts())["completed"] >= 80

        await eventually(done, "the heavier queue has had 80 turns", within_s=60)
        counts = {queue.name: (await queue.get_job_counts())["completed"] for queue in (heavy, light)}
    # 4 : 1, but for the first jobs, before anybody knows how long they take.
    assert 2.5 <= counts["heavy"] / counts["light"] <= 5.5, counts
    assert runtime.stop(signal.SIGQUIT) == 0


async def test_pool_that_nobody_uses_is_refused_before_anything_starts(
    start: Start, own_server: ValkeyServer
) -> None:
    runtime = start("app", "--pool", "bach=2")
    assert runtime.wait() == 2
    assert "did you mean 'batch'?" in runtime.log()
    with valkey.Valkey(unix_socket_path=str(own_server.socket)) as client:
        assert not client.keys("*batch*")


async def test_host_serves_only_the_pools_that_are_not_given_to_others(
    start: Start, own_server: ValkeyServer, effects: Path
) -> None:
    runtime = await start("app", "--pool", "batch=0").ready()
    async with (
        Queue[Any, int]("batch", connection=own_server.url) as batch,
        Queue[Any, int]("live", connection=own_server.url) as live,
    ):
        waiting = await batch.add("wait", 1)
        assert await live.add_and_wait("now", 1) > 0
        assert len(await live.get_workers()) == 1
        assert await batch.get_workers() == []
        runtime.signal(signal.SIGHUP)
        await runtime.logged("reloaded: ")
        assert await live.add_and_wait("now", 2) > 0
        assert waiting is not None and await waiting.get_state() == "waiting"
    assert "not reloaded" not in runtime.log()
    assert runtime.stop() == 0


@pytest.mark.parametrize(
    "more", [[], ["--preload"], ["--cells", "per-core"]], ids=["forked", "preloaded", "cells"]
)
async def test_queue_moves_to_another_pool_by_a_reload_and_back_by_the_next(
    start: Start, own_server: ValkeyServer, effects: Path, more: list[str]
) -> None:
    runtime = await start("edited", *more).ready()
    async with (
        Queue[Any, int]("moving", connection=own_server.url) as moving,
        Queue[Any, int]("staying", connection=own_server.url) as staying,
    ):

        async def share_a_process() -> bool:
            """Whether the queues are served by the same processes."""
            return bool(
                {await moving.add_and_wait("now", n) for n in range(4)}
                & {await staying.add_and_wait("now", n) for n in range(4)}
            )

        async def reloaded(times: int) -> None:
            runtime.signal(signal.SIGHUP)

            async def is_reloaded() -> bool:
                assert "not reloaded" not in runtime.log()
                return runtime.log().count("reloaded: ") == times

            await eventually(is_reloaded, "the app is reloaded")

        assert not await share_a_process()
        (effects / MOVED).touch()
        await reloaded(1)  # which leaves the first pool without any queue

        await eventually(share_a_process, "the second pool serves both queues")
        (effects / MOVED).unlink()
        await reloaded(2)
        assert not await share_a_process()
    assert runtime.stop() == 0
