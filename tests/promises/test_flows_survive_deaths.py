"""No death between a child's end and its parent's queue loses a wake-up, or wakes a parent twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from glidemq import FlowJob, FlowProducer, Job, JobOptions, Queue
from glidemq.commands.register_worker import RegisterWorkerCommand
from glidemq.commands.step import CompletionRow, StepCommand
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.family_app:app"
Launch = Callable[..., Runtime]


def flow_of(parents: str, children: str, data: list[int], **opts: Any) -> FlowJob:
    options: JobOptions = opts  # type: ignore[assignment]
    inner: list[FlowJob] = [
        {"name": "square", "queue_name": children, "data": number, "opts": options} for number in data
    ]
    return {"name": "sum", "queue_name": parents, "data": {}, "children": inner}


async def ended(job: Job[Any, Any]) -> str | None:
    state = await job.get_state()
    return state if state in ("completed", "failed") else None


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_running_job_in_an_actor_process_waits_for_children_that_it_adds(
    launch: Launch, own_server: ValkeyServer, history: History, kind: str
) -> None:
    other = {"sync": "async", "async": "sync"}[kind]
    async with Queue[Any, Any](f"{kind}-parents", connection=own_server.url) as queue:
        data = {"children": f"{other}-children", "count": 5}
        parents = [await queue.add("sum", data) for _ in range(3)]
        await launch(APP, "--procs", "1").ready()
        for parent in parents:
            assert parent is not None
            assert await eventually(lambda job=parent: ended(job), what="the parent's end") == "completed"  # type: ignore[misc]
            await parent.refresh()
            assert (parent.return_value, parent.attempts_made) == (30, 0)
            assert len(history.runs_of(parent.id, queue.name)) == 2


async def test_a_letter_that_a_dead_host_left_is_carried_by_the_next_one(
    launch: Launch, own_server: ValkeyServer
) -> None:
    """The instant between the two slots: the child has ended, and its host never told anybody."""
    async with FlowProducer(connection=own_server.url) as flows:
        root = await flows.add(flow_of("async-parents", "sync-children", [3]))
        child = root.children[0].job
        async with CommandConnection(ConnectionOptions.from_url(own_server.url)) as dead_host:
            await complete_and_die(dead_host, child)
        assert await child.get_state() == "completed"
        assert await root.job.get_state() == "waiting-children"
        await launch(APP, "--procs", "1").ready()
        assert await eventually(lambda: ended(root.job), what="the parent's end", within_s=20) == "completed"
        await root.job.refresh()
        assert root.job.return_value == 9


async def complete_and_die(host: CommandConnection, child: Job[Any, Any]) -> None:
    key = f"glide:{{{child.queue_name}}}:meta"
    await host.execute(RegisterWorkerCommand(key, consumer="dead", info_json=b"{}", ttl_ms=1000))
    common: dict[str, Any] = {"consumer": "dead", "cell": "dead", "ahead": 0, "max_bytes": 1 << 20}
    started = await host.execute(StepCommand(key, run="a", complete=[], slots=1, **common))
    [job] = started.activations
    row = CompletionRow.pack(job.id, job.token, job.processed_on, job.entry_id, b"9", False)
    result = await host.execute(StepCommand(key, run="b", complete=[row], slots=0, **common))
    assert result.outcomes == [1] and result.posted


async def test_gateways_that_are_killed_lose_no_parent_and_wake_none_twice(
    launch: Launch, own_server: ValkeyServer, history: History
) -> None:
    async with FlowProducer(connection=own_server.url) as flows:
        runtime = await launch(APP, "--procs", "1").ready()
        roots: list[Job[Any, Any]] = []

        async def produce() -> None:
            for _ in range(30):
                nodes = await flows.add_bulk(
                    [flow_of("async-parents", "sync-children", [1, 2, 3]) for _ in range(4)]
                    + [flow_of("async-parents", "async-children", [1, -1], on_failure="ignore")]
                )
                roots.extend(node.job for node in nodes)

        async def kill() -> None:
            for _ in range(3):
                gateway, before = runtime.gateway, len(history.finished("async-parents"))
                await eventually(
                    lambda: len(history.finished("async-parents")) > before,  # noqa: B023 - awaited at once
                    what="a parent's end",
                )
                os.kill(gateway, signal.SIGKILL)
                await runtime.replaced("gateway 0", gateway)

        await asyncio.gather(produce(), kill())
        await eventually(lambda: all_ended(roots), what="all parents' ends", within_s=60)
        assert {await job.get_state() for job in roots} == {"completed"}
        runs = history.by_job("async-parents")
        assert {len(runs[job.id]) for job in roots} == {1}
        raw: Any = own_server.client()
        await eventually(lambda: raw.keys("glide:*:x-py:outbox") == [], what="the outboxes are empty")


async def all_ended(jobs: list[Job[Any, Any]]) -> bool:
    states = await asyncio.gather(*(ended(job) for job in jobs))
    return all(states)
