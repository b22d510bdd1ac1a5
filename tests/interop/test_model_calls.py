"""Usage, streams and fallbacks of recorded jobs end up on the server as a Node worker leaves them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from glidemq import Job, Queue, Worker
from tests.interop.allowances import AFTER_COMPLETION
from tests.interop.differ import Allowed, assert_same, read_keys
from tests.interop.loader import load_dump
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

# The recorded worker has a token limiter, which keeps these; it is another matter.
WINDOWS = Allowed("tpm:*", "no token limiter is at work here")


async def reports(job: Job[Any, Any]) -> str:
    await job.report_usage(
        model="m-1",
        provider="prov",
        tokens={"input": 100, "output": 50},
        costs={"total": 0.003},
        cost_unit="usd",
        latency=0.012,
        cached=False,
    )
    await job.report_tokens(150)
    return "r"


async def streams(job: Job[Any, Any]) -> int:
    for token in ("he", "llo"):
        await job.stream({"token": token})
    return 1


async def falls_back(job: Job[Any, Any]) -> str:
    if job.fallback_index < 2:
        raise RuntimeError("next")
    assert job.current_fallback is not None
    return job.current_fallback.model


@pytest.mark.parametrize(
    ("case_name", "process"),
    [("usage_token_limiter", reports), ("job_stream", streams), ("fallbacks_lock_duration", falls_back)],
)
async def test_recorded_job_leaves_what_it_leaves_on_node(
    server: ValkeyServer,
    raw: Any,
    queue_name: str,
    case_name: str,
    process: Callable[[Job[Any, Any]], Awaitable[Any]],
) -> None:
    loaded = load_dump(raw, case_name, queue_name)
    async with Worker[Any, Any](queue_name, process, connection=server.url):
        completed = f"glide:{{{queue_name}}}:completed"
        await eventually(lambda: raw.zcard(completed) == 1, what="the recorded job's completion")
    found = read_keys(raw, [queue_name])
    minutes = [key for key in found if ":usage:" in key]
    expected = {
        minutes.pop() if ":usage:" in key else key: dump
        for key, dump in loaded.expected("after_completion").items()
    }
    assert minutes == []  # reports of one moment are counted in one minute
    assert_same(expected, found, times="ignored", allowed=(*AFTER_COMPLETION, WINDOWS))


async def test_what_node_has_left_is_read(server: ValkeyServer, raw: Any, queue_name: str) -> None:
    load_dump(raw, "usage_token_limiter", queue_name, moment="after_completion")
    async with Queue[Any, Any](queue_name, connection=server.url) as queue:
        job = await queue.get_job("1")
        assert job is not None
        assert job.usage is not None
        assert (job.usage.model, job.usage.total_tokens, job.usage.total_cost) == ("m-1", 150, 0.003)
        assert (job.usage.latency, job.usage.cached) == (0.012, False)
        flow = await queue.get_flow_usage("1")
        assert (flow.tokens, flow.models) == ({"input": 100, "output": 50}, {"m-1": 1})


async def test_stream_of_a_node_worker_is_read_to_its_end(
    server: ValkeyServer, raw: Any, queue_name: str
) -> None:
    load_dump(raw, "job_stream", queue_name, moment="after_completion")
    async with Queue[Any, Any](queue_name, connection=server.url) as queue:
        entries = [entry async for entry in queue.stream("1")]
    assert [(entry.fields, entry.attempt) for entry in entries] == [
        ({"token": "he"}, 1),
        ({"token": "llo"}, 1),
    ]
