"""Jobs added by glide-mq for Node, processed by a whole `Worker` in real time, leave what a Node worker leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import valkey

from glidemq import Job, Worker
from tests.interop.allowances import AFTER_COMPLETION
from tests.interop.differ import assert_same, read_keys
from tests.interop.loader import load_dump
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

Process = Callable[[Job[Any, Any]], Awaitable[Any]]


def returning(value: Any) -> Process:
    async def process(job: Job[Any, Any]) -> Any:
        return value

    return process


async def fails_once(job: Job[Any, Any]) -> None:
    await job.log("line one")
    await job.update_progress(50)
    if job.attempts_made == 0:
        raise RuntimeError("boom")


async def size_of_text(job: Job[Any, Any]) -> int:
    return len(next(iter(job.data.values())))


@pytest.mark.parametrize(
    ("case_name", "process", "finished"),
    [
        ("plain", returning({"ok": True}), 1),
        ("retry_progress_log", fails_once, 1),
        ("delayed", returning(1), 1),
        ("priority", returning(1), 2),
        ("lifo", returning(1), 2),
        ("gzip", size_of_text, 1),
    ],
)
async def test_a_recorded_job_ends_as_on_node(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str, case_name: str, process: Process, finished: int
) -> None:
    # The recorded due times are long past or far ahead; only what follows the start is compared, not when.
    loaded = load_dump(raw, case_name, queue_name)
    make_due(raw, queue_name)
    async with Worker[Any, Any](queue_name, process, connection=server.url, promotion_interval=0.02):
        completed = f"glide:{{{queue_name}}}:completed"
        await eventually(lambda: raw.zcard(completed) == finished, what="the recorded jobs' completion")
    expected = loaded.expected("after_completion")
    found = read_keys(raw, [queue_name])
    assert_same(expected, found, times="ignored", allowed=AFTER_COMPLETION)


def make_due(raw: valkey.Valkey, queue: str) -> None:
    """Delays were recorded against Node's clock: let every delayed job fall due soon, its priority class kept."""
    shift = 2**42
    # Later than the worker's start, so that the order is the recorded one.
    soon = int(time.time() * 1000) + 1500
    key = f"glide:{{{queue}}}:scheduled"
    for member, score in raw.zrange(key, 0, -1, withscores=True):
        if score % shift:
            raw.zadd(key, {member: score // shift * shift + soon})


async def test_a_recorded_job_that_expired_meanwhile_fails_without_a_start(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    load_dump(raw, "custom_id_ttl_timeout", queue_name)  # its ttl ended when the recording was made
    started: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        started.append(job.id)

    async with Worker[Any, Any](queue_name, process, connection=server.url):
        failed = f"glide:{{{queue_name}}}:failed"
        await eventually(lambda: raw.zcard(failed) == 1, what="the expiry")
    assert started == []


async def test_removal_on_completion_leaves_nothing_of_a_recorded_job(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    loaded = load_dump(raw, "remove_on_complete", queue_name)
    ran = asyncio.Event()

    async def process(job: Job[Any, Any]) -> int:
        ran.set()
        return 1

    async with Worker[Any, Any](queue_name, process, connection=server.url):
        await ran.wait()
        await eventually(lambda: not raw.exists(f"glide:{{{queue_name}}}:job:1"), what="the removal")
    found = read_keys(raw, [queue_name])
    assert_same(loaded.expected("after_completion"), found, times="ignored", allowed=AFTER_COMPLETION)


async def test_a_job_that_was_revoked_while_it_waited_never_runs(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    load_dump(raw, "revoked", queue_name, moment="while_job_1_is_active")
    processed: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        processed.append(job.id)

    async with Worker[Any, Any](queue_name, process, connection=server.url) as worker:
        raw.xadd(f"glide:{{{queue_name}}}:stream", {"jobId": "2", "name": "rev"})  # its entry turns up again
        await eventually(
            lambda: raw.xlen(f"glide:{{{queue_name}}}:stream") <= 1 and worker.is_running(), what="the drop"
        )
    assert "2" not in processed
    assert raw.hget(f"glide:{{{queue_name}}}:job:2", "failedReason") == b"revoked"
