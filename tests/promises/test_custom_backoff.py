"""Back-off strategies by name: the wait that the processor's own function says, in every kind of worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glidemq import App, Backoff, Job, Queue, QueueEvents, RetryingEvent, ValidationError, Worker
from tests.promises.backoff_app import STRATEGIES, call, call_async
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer

CALLS: list[Callable[[Any], Any]] = [call, call_async]


async def retry_delays(server: ValkeyServer, queue: Queue[Any, Any], backoff: Any) -> list[float]:
    """Add a job that fails twice, see it to its end, and tell the waits between its attempts."""
    delays: list[float] = []
    async with QueueEvents(queue.name, connection=server.url) as events:
        job = await queue.add("call", {"failures": 2, "retry_after": 0.03}, attempts=3, backoff=backoff)
        assert job is not None
        async for event in events:
            if event.job_id == job.id and isinstance(event, RetryingEvent):
                delays.append(event.delay)
            if event.job_id == job.id and event.name == "completed":
                break
    await job.refresh()
    assert (job.return_value, job.attempts_made) == ("answer", 2)
    return delays


@pytest.mark.parametrize("processor", CALLS)
async def test_a_worker_waits_as_its_strategy_says(
    server: ValkeyServer, queue_name: str, processor: Callable[[Any], Any]
) -> None:
    async with (
        Queue[Any, Any](queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, processor, connection=server.url, backoff_strategies=STRATEGIES),
    ):
        assert await retry_delays(server, queue, Backoff.custom("as-told")) == [0.03, 0.03]
        assert await retry_delays(server, queue, {"type": "as-told", "delay": 60}) == [0.03, 0.03]
        # A strategy that fails, and one that this worker does not have, leave the fixed delay.
        assert await retry_delays(server, queue, Backoff.custom("broken", 0.02)) == [0.02, 0.02]
        assert await retry_delays(server, queue, Backoff.custom("unknown", 0.01)) == [0.01, 0.01]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_job_that_overruns_is_retried_as_the_strategy_says(
    server: ValkeyServer, queue_name: str, kind: str
) -> None:
    seen: list[tuple[int, str]] = []

    def strategy(attempts_made: int, error: BaseException) -> float:
        seen.append((attempts_made, type(error).__name__))
        return 0.01

    async def wait(job: Job[Any, Any]) -> None:
        if job.attempts_made == 0:
            await job.abort_signal.wait()

    def block(job: Any) -> None:
        while job.attempts_made == 0 and not job.abort_signal.aborted:
            pass

    async with (
        Queue[Any, Any](queue_name, connection=server.url) as queue,
        Worker[Any, Any](
            queue_name,
            wait if kind == "async" else block,
            connection=server.url,
            backoff_strategies={"mine": strategy},
        ),
    ):
        job = await queue.add("slow", None, attempts=2, timeout=0.05, backoff=Backoff.custom("mine", 60))
        assert job is not None
        assert await job.wait_until_finished(poll=0.01) == "completed"
    assert seen == [(1, "TimeoutError")]


@pytest.fixture
def runtime(own_server: ValkeyServer, tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(
        tmp_path / "runtime",
        "tests.promises.backoff_app:app",
        url=own_server.url,
        effects=tmp_path / "effects",
        arguments=["--procs", "1"],
    )
    yield made.start()
    made.clean_up()


async def test_actor_processes_wait_as_their_strategies_say(
    runtime: Runtime, own_server: ValkeyServer
) -> None:
    await runtime.ready()
    for name in ("sync-calls", "async-calls"):
        async with Queue[Any, Any](name, connection=own_server.url) as queue:
            assert await retry_delays(own_server, queue, Backoff.custom("as-told", 60)) == [0.03, 0.03]
            assert await retry_delays(own_server, queue, Backoff.custom("broken", 0.02)) == [0.02, 0.02]


async def nothing(job: Job[Any, Any]) -> None:
    return None


@pytest.mark.parametrize(
    ("strategies", "message"),
    [
        ({"fixed": lambda n, e: 1}, "the back-off 'fixed' is built in"),
        ({"exponential": lambda n, e: 1}, "the back-off 'exponential' is built in"),
        ({"": lambda n, e: 1}, "a back-off strategy needs a printable name"),
        ({"x": 5}, "back-off strategy 'x' must be a plain function"),
        ({"x": nothing}, "back-off strategy 'x' must be a plain function"),
        ([1], "backoff_strategies must be a mapping"),
    ],
)
def test_bad_strategies_are_refused_at_once(strategies: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Worker("q", nothing, connection="valkey://localhost", backoff_strategies=strategies)
    with pytest.raises(ValidationError, match=message):
        App().processor("q", backoff_strategies=strategies)
