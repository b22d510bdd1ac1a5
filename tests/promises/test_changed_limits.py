"""A queue's limits can be set, changed and removed while it is worked on: its workers notice within a tick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from glidemq import Queue, RateLimit, ValidationError
from tests.testkit.effects import History
from tests.testkit.runtime import Clock, Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.control_app:app"

AnyQueue = Queue[Any, Any]

# A tick is 0.25 s; the rest is for a busy machine.
SOON_S = 2.0


async def test_actor_processes_follow_a_rate_limit_as_it_changes(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History
) -> None:
    await launch(APP, "--procs", "2").ready()
    async with AnyQueue("async-calls", connection=own_server.url) as queue:
        assert await queue.get_global_rate_limit() is None
        await queue.set_global_rate_limit(RateLimit(max=1, duration=3600))
        assert await queue.get_global_rate_limit() == RateLimit(max=1, duration=3600)
        await queue.add_bulk([("n", None)] * 6)
        await eventually(lambda: len(history.runs()) == 1, "the first one runs")

        await queue.set_global_rate_limit({"max": 3, "duration": 3600})
        clock = Clock("a wider rate limit")
        await eventually(lambda: len(history.runs()) == 3, "two more run")
        assert clock.note("the third start") < SOON_S

        await queue.remove_global_rate_limit()
        assert await queue.get_global_rate_limit() is None
        clock = Clock("no rate limit")
        await eventually(lambda: len(history.runs()) == 6, "the others run")
        assert clock.note("the last start") < SOON_S


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_actor_processes_follow_a_global_concurrency_as_it_changes(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str
) -> None:
    await launch(APP, "--procs", "3").ready()
    async with AnyQueue(f"{kind}-long", connection=own_server.url) as queue:
        await queue.set_global_concurrency(1)
        jobs = await queue.add_bulk([("n", {})] * 3)
        await eventually(lambda: len(history.running()) == 1, "the first one runs")

        await queue.set_global_concurrency(2)
        clock = Clock("a wider global concurrency")
        await eventually(lambda: len(history.running()) == 2, "another one runs")
        assert clock.note("the second start") < SOON_S

        await queue.set_global_concurrency(0)
        assert await queue.get_global_concurrency() is None
        clock = Clock("no global concurrency")
        await eventually(lambda: len(history.running()) == 3, "all run")
        assert clock.note("the last start") < SOON_S
        for job in jobs:
            await queue.revoke(job.id)
        await eventually(lambda: not history.running(), "all have ended")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda queue: queue.set_global_concurrency(-1), "concurrency must be a non-negative integer"),
        (lambda queue: queue.set_global_concurrency(1.5), "concurrency must be a non-negative integer"),
        (
            lambda queue: queue.set_global_rate_limit({"max": 0, "duration": 1}),
            "max must be a positive integer",
        ),
        (lambda queue: queue.set_global_rate_limit({"max": 1, "duration": 0}), "duration must be a positive"),
        (lambda queue: queue.set_global_rate_limit({"max": 1}), "duration"),
    ],
)
async def test_what_is_no_limit_is_refused(call: Callable[[AnyQueue], Any], message: str) -> None:
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as unreachable:
        with pytest.raises(ValidationError, match=message):
            await call(unreachable)
