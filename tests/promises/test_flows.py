"""Parents run after their children, whatever queues and hosts those are in, and each failure means what it should."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from glidemq import FlowJob, FlowProducer, Job, JobOptions, Queue, Worker
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


async def finished(job: Job[Any, Any]) -> str | None:
    state = await job.get_state()
    return state if state in ("completed", "failed") else None


async def double(job: Job[Any, Any]) -> Any:
    if job.data == "bad":
        raise RuntimeError("no good")
    return job.data * 2


async def done(job: Job[Any, Any]) -> str:
    return "done"


def flow_of(parents: str, children: str, data: list[Any], **opts: Any) -> FlowJob:
    options = cast(JobOptions, opts)
    inner: list[FlowJob] = [
        {"name": "double", "queue_name": children, "data": value, "opts": options} for value in data
    ]
    return {"name": "sum", "queue_name": parents, "children": inner}


@pytest.mark.parametrize("apart", [False, True], ids=["one queue", "two queues"])
async def test_a_parent_runs_once_after_all_its_children(
    server: ValkeyServer, queue_name: str, apart: bool
) -> None:
    runs: list[str] = []

    async def work(job: Job[Any, Any]) -> Any:
        runs.append(job.name)
        return await double(job) if job.name == "double" else "done"

    children = f"{queue_name}-c" if apart else queue_name
    async with (
        FlowProducer(connection=server.url) as flows,
        Worker[Any, Any](queue_name, work, connection=server.url, concurrency=5),
        Worker[Any, Any](children, work, connection=server.url, concurrency=5)
        if apart
        else asyncio.TaskGroup(),
    ):
        root = await flows.add(flow_of(queue_name, children, list(range(20))))
        assert await eventually(lambda: finished(root.job), what="the parent's end") == "completed"
    assert runs == ["double"] * 20 + ["sum"]


@pytest.mark.parametrize(
    ("policy", "state"),
    [("fail_parent", "failed"), ("ignore", "completed"), ("remove", "completed"), ("continue", "completed")],
)
async def test_each_policy_over_two_queues(
    server: ValkeyServer, queue_name: str, policy: str, state: str
) -> None:
    children = f"{queue_name}-c"
    async with (
        FlowProducer(connection=server.url) as flows,
        Worker[Any, Any](queue_name, done, connection=server.url),
        Worker[Any, Any](children, double, connection=server.url),
        Queue[Any, Any](queue_name, connection=server.url) as queue,
    ):
        root = await flows.add(flow_of(queue_name, children, [1, "bad", 2], on_failure=policy))
        assert await eventually(lambda: finished(root.job), what="the parent's end") == state
        if state == "failed":
            job = await queue.get_job(root.job.id)
            assert job is not None
            bad = root.children[1].job.id
            assert job.failed_reason == f"child glide:{{{children}}}:{bad} failed: no good"
