"""Suspended jobs go from one runtime to the other: the same keys while they wait, and after they were signalled."""

from __future__ import annotations

from typing import Any

import valkey

from glidemq import Job, Queue, Worker
from tests.interop.allowances import AFTER_COMPLETION
from tests.interop.differ import assert_same, read_keys
from tests.interop.loader import load_dump
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

CASE = "suspend_signal"


async def ask(job: Job[Any, Any]) -> dict[str, Any]:
    """What the recorded processor did."""
    if not job.signals:
        await job.suspend(reason="need approval", timeout=60)
    return {
        "got": [
            {
                "name": signal.name,
                "data": signal.data,
                "receivedAt": round(signal.received_at.timestamp() * 1000),
            }
            for signal in job.signals
        ]
    }


async def test_a_job_is_suspended_and_signalled_as_on_node(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    loaded = load_dump(raw, CASE, queue_name)
    async with (
        Queue[Any, Any](queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, ask, connection=server.url) as worker,
    ):
        await eventually(lambda: raw.zcard(loaded.key("suspended")) == 1, "the job waits")
        await eventually(lambda: raw.keys(loaded.key("w:*")), "the worker is registered")
        assert_same(
            loaded.expected("while_suspended"),
            read_keys(raw, [queue_name]),
            times="ignored",
            allowed=AFTER_COMPLETION,
        )
        assert await queue.signal("1", "approve", {"by": "me"}) is True
        await eventually(lambda: raw.zcard(loaded.key("completed")) == 1, "the job completes")
        assert worker.is_running()
    found = read_keys(raw, [queue_name])
    assert_same(loaded.expected("after_completion"), found, times="ignored", allowed=AFTER_COMPLETION)


async def test_a_job_that_node_suspended_goes_on_here(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    loaded = load_dump(raw, CASE, queue_name, moment="while_suspended")
    raw.delete(*raw.keys(loaded.key("w:*")))  # Node's worker has left
    async with Queue[Any, Any](queue_name, connection=server.url) as queue:
        info = await queue.get_suspend_info("1")
        assert info is not None
        assert (info.reason, info.timeout) == ("need approval", 60)
        assert await queue.signal("1", "approve", {"by": "me"}) is True
        async with Worker[Any, Any](queue_name, ask, connection=server.url):
            await eventually(lambda: raw.zcard(loaded.key("completed")) == 1, "the job completes")
    found = read_keys(raw, [queue_name])
    assert_same(loaded.expected("after_completion"), found, times="ignored", allowed=AFTER_COMPLETION)


async def test_a_wait_of_node_s_whose_time_is_over_ends_here(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    loaded = load_dump(raw, CASE, queue_name, moment="while_suspended")
    async with Worker[Any, Any](queue_name, ask, connection=server.url):
        await eventually(lambda: raw.zcard(loaded.key("failed")) == 1, "the job fails")
    assert raw.hget(loaded.key("job:1"), "failedReason") == b"Suspend timeout exceeded"
