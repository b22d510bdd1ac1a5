"""What jobs have used is settled, however they end: counted are the tokens that the queue's window shows."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import valkey

from glidemq import Batch, Queue, RateLimit, TokenLimiter, UnrecoverableError, Worker
from glidemq.options.token_limiter import Scope
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

WINDOW_S = 100_000  # no test runs into its end
ESTIMATE = 100

Counted = Callable[[], int]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    async with Queue[Any, Any](queue_name, connection=server.url) as made:
        yield made


@pytest.fixture
def counted(raw: valkey.Valkey, queue_name: str) -> Counted:
    def look() -> int:
        keys: Any = raw.keys(f"glide:{{{queue_name}}}:tpm:*")
        return sum(int(value) for value in raw.mget(keys)) if keys else 0  # type: ignore[union-attr]

    return look


def worker_of(
    server: ValkeyServer, name: str, process: Any, scope: Scope = "queue", **options: Any
) -> Worker:
    limiter = TokenLimiter(10_000, WINDOW_S, scope)
    return Worker(name, process, connection=server.url, token_limiter=limiter, **options)


async def run(job: Any) -> None:
    """Do what the job's data says, in its order."""
    for deed, value in job.data:
        if deed == "report":
            await job.report_tokens(value)
        elif deed == "usage":
            await job.report_usage(tokens={"input": value, "output": 1})
        else:
            raise UnrecoverableError("told to fail")


@pytest.mark.parametrize(
    ("deeds", "tokens"),
    [
        ([["report", 30]], 30),
        ([["report", 30], ["report", 20]], 20),
        ([["report", 250]], 250),
        ([["usage", 49]], 50),
        ([["report", 30], ["usage", 69]], 70),
        ([["report", 80], ["usage", 69]], 80),
        ([["report", 40], ["fail", 0]], 40),
        ([["fail", 0]], ESTIMATE),
        ([], ESTIMATE),
    ],
)
async def test_window_shows_what_the_run_has_used(
    server: ValkeyServer, queue: Queue[Any, Any], counted: Counted, deeds: list[Any], tokens: int
) -> None:
    await queue.add("run", deeds, estimated_tokens=ESTIMATE)
    async with worker_of(server, queue.name, run):
        await eventually(lambda: counted() == tokens, f"{tokens} tokens are counted")


async def test_jobs_of_a_batch_are_settled_one_by_one(
    server: ValkeyServer, queue: Queue[Any, Any], counted: Counted
) -> None:
    async def run_all(jobs: list[Any]) -> list[None]:
        for job in jobs:
            await job.report_tokens(job.data)
        return [None] * len(jobs)

    await queue.add_bulk([("run", tokens, {"estimated_tokens": ESTIMATE}) for tokens in (1, 2, 150)])
    async with worker_of(server, queue.name, run_all, batch=Batch(size=3, timeout=0.1)):
        await eventually(lambda: counted() == 153, "all three are settled")


async def test_closing_worker_returns_the_rest_of_its_block(
    server: ValkeyServer, queue: Queue[Any, Any], counted: Counted
) -> None:
    await queue.add_bulk([("run", [["report", 7]], {"estimated_tokens": ESTIMATE}) for _ in range(5)])
    async with worker_of(server, queue.name, run, "both", concurrency=2):

        async def all_done() -> bool:
            return (await queue.get_job_counts())["completed"] == 5

        await eventually(all_done, "all are completed")
        assert counted() >= 35
    assert counted() == 35


@pytest.mark.parametrize(("most", "started"), [(3, 3), (50, 8)])
async def test_whichever_limit_is_used_up_first_holds_the_queue_back(
    server: ValkeyServer, queue: Queue[Any, Any], most: int, started: int
) -> None:
    seen = itertools.count()
    await queue.add_bulk([("run", [["report", 1250]], {"estimated_tokens": 1250}) for _ in range(20)])

    async def note(job: Any) -> None:
        next(seen)
        await run(job)

    rate = RateLimit(max=most, duration=WINDOW_S)
    async with worker_of(server, queue.name, note, limiter=rate, concurrency=20):

        async def held_back() -> bool:
            counts = await queue.get_job_counts()
            return counts["completed"] == started and counts["active"] == 0

        await eventually(held_back, f"{started} jobs are completed")
    assert next(seen) == started
    assert (await queue.get_job_counts())["waiting"] == 20 - started


async def test_worker_scope_counts_in_memory_alone(
    server: ValkeyServer, queue: Queue[Any, Any], counted: Counted
) -> None:
    await queue.add_bulk([("run", [["report", 4000]], {"estimated_tokens": 4000}) for _ in range(4)])
    async with worker_of(server, queue.name, run, "worker"), worker_of(server, queue.name, run, "worker"):

        async def all_done() -> bool:
            return (await queue.get_job_counts())["completed"] == 4

        await eventually(all_done, "each of the two has started two")
    assert counted() == 0
