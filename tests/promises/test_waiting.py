"""Whoever adds a job can wait for its end, however it ends and whichever process works it off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from glidemq import JobFailedError, JobTimeoutError, Queue
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer

APP = "tests.promises.basics_app:app"

AnyQueue = Queue[Any, Any]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_results_and_failures_of_actor_processes_come_back(
    launch: Callable[..., Runtime], own_server: ValkeyServer, kind: str
) -> None:
    await launch(APP, "--procs", "2").ready()
    async with AnyQueue(f"{kind}-answers", connection=own_server.url) as queue:
        assert await queue.add_and_wait("n", "hello") == {"answer": "hello"}
        assert await queue.add_and_wait("n", {"failures": 1}, attempts=2) == {"answer": {"failures": 1}}
        with pytest.raises(JobFailedError, match=r"^no answer, ever$"):
            await queue.add_and_wait("n", "hopeless", attempts=3)
        # Many callers at once, each with a connection of its own while it waits.
        answers = await asyncio.gather(*(queue.add_and_wait("n", number) for number in range(20)))
        assert answers == [{"answer": number} for number in range(20)]

        job = await queue.add("n", {"failures": 9}, attempts=2)
        assert job is not None
        assert await job.wait_until_finished(poll=0.02) == "failed"
        assert (job.failed_reason, job.return_value) == ("failure 2", None)


async def test_nobody_waits_for_ever(own_server: ValkeyServer) -> None:
    async with AnyQueue("nobody-serves-it", connection=own_server.url) as queue:
        with pytest.raises(JobTimeoutError, match=r"^Job 1 did not finish within 0\.1 s$"):
            await queue.add_and_wait("n", None, wait_timeout=0.1)
        job = await queue.get_job("1")
        assert job is not None, "the job itself goes on waiting"
        with pytest.raises(JobTimeoutError, match=r"^Job 1 did not finish within 0\.1 s$"):
            await job.wait_until_finished(poll=0.02, timeout=0.1)
        assert await job.get_state() == "waiting"
