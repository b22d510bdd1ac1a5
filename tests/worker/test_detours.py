"""A run may end without an outcome: its job waits, uncharged, and whatever its processor does afterwards is void."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import valkey

from glidemq import (
    DetourError,
    GroupRateLimitError,
    Job,
    Ordering,
    Queue,
    SyncJob,
    UnrecoverableError,
    WaitingChildrenError,
    Worker,
)
from glidemq.errors import JobStateError, ValidationError
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

Start = Callable[..., Any]
GROUP = Ordering(key="site")
PAUSE_S = 0.05


async def in_state(queue: Queue[Any, Any], job: Job[Any, Any], state: str) -> bool:
    return await job.get_state() == state


@pytest.fixture
async def job(queue: Queue[Any, Any]) -> AsyncIterator[Job[Any, Any]]:
    """One job of a group, which must not be tried twice."""
    added = await queue.add("fetch", None, ordering=GROUP, attempts=1)
    assert added is not None
    yield added


class Detouring:
    """A processor, plain or async, that takes the detour in its first run and returns "done" in its second."""

    def __init__(self, then: BaseException | None = None, *, by_method: bool) -> None:
        self.runs: list[int] = []
        self._then = then
        self._by_method = by_method

    def plain(self, job: SyncJob[Any, Any]) -> str:
        self.runs.append(job.attempts_made)
        if len(self.runs) > 1:
            return "done"
        if not self._by_method:
            raise GroupRateLimitError(PAUSE_S)
        job.rate_limit_group(PAUSE_S)
        if self._then is not None:
            raise self._then
        return "void"

    async def coroutine(self, job: Job[Any, Any]) -> str:
        self.runs.append(job.attempts_made)
        if len(self.runs) > 1:
            return "done"
        if not self._by_method:
            raise GroupRateLimitError(PAUSE_S)
        await job.rate_limit_group(PAUSE_S)
        if self._then is not None:
            raise self._then
        return "void"


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
@pytest.mark.parametrize(
    "detouring",
    [
        lambda: Detouring(by_method=False),
        lambda: Detouring(by_method=True),
        lambda: Detouring(ValueError("too late to count"), by_method=True),
        lambda: Detouring(UnrecoverableError("too late to count"), by_method=True),
        lambda: Detouring(GroupRateLimitError(60), by_method=True),
    ],
    ids=["raises", "calls", "calls, then raises", "calls, then gives up", "calls, then raises it again"],
)
async def test_a_run_that_takes_a_detour_is_not_charged_and_the_job_runs_again(
    job: Job[Any, Any], start_worker: Start, detouring: Callable[[], Detouring], kind: str
) -> None:
    processor = detouring()
    ends: list[tuple[str, Any]] = []
    worker: Worker[Any, Any] = await start_worker(getattr(processor, kind))
    worker.on("completed", lambda job, result: ends.append(("completed", result)))
    worker.on("failed", lambda job, error: ends.append(("failed", error)))
    assert await job.wait_until_finished(poll=0.01) == "completed"
    await eventually(lambda: ends, "the event of the end")
    assert ends == [("completed", "done")], "a detour is no failure"
    assert (job.return_value, job.attempts_made, job.failed_reason) == ("done", 0, None)
    assert processor.runs == [0, 0]


@pytest.mark.parametrize("raises", [True, False])
async def test_a_job_that_a_detour_lets_fail_is_told_as_failed(
    job: Job[Any, Any], start_worker: Start, raises: bool
) -> None:
    async def process(job: Job[Any, Any]) -> str:
        if raises:
            raise GroupRateLimitError(PAUSE_S, current_job="fail")
        await job.rate_limit_group(PAUSE_S, current_job="fail")
        return "void"

    failed: list[tuple[str, str, str]] = []
    worker: Worker[Any, Any] = await start_worker(process)
    worker.on("failed", lambda job, error: failed.append((job.id, type(error).__name__, str(error))))
    assert await job.wait_until_finished(poll=0.01) == "failed"
    await eventually(lambda: failed, "the event of the failure")
    kind = "GroupRateLimitError" if raises else "JobFailedError"
    assert failed == [(job.id, kind, "group rate limited")]
    assert job.failed_reason == "group rate limited"


async def test_what_a_processor_raises_after_a_detour_that_let_its_job_fail_is_not_the_reason(
    job: Job[Any, Any], start_worker: Start
) -> None:
    async def process(job: Job[Any, Any]) -> str:
        await job.rate_limit_group(PAUSE_S, current_job="fail")
        raise ValueError("too late to count")

    failed: list[str] = []
    worker: Worker[Any, Any] = await start_worker(process)
    worker.on("failed", lambda job, error: failed.append(str(error)))
    assert await job.wait_until_finished(poll=0.01) == "failed"
    await eventually(lambda: failed == ["group rate limited"], "the event of the failure")


@pytest.mark.parametrize("current_job", ["requeue", "fail"])
@pytest.mark.parametrize("raises", [True, False])
async def test_a_detour_of_a_revoked_run_ends_it_as_revoked(
    queue: Queue[Any, Any], job: Job[Any, Any], start_worker: Start, raises: bool, current_job: Any
) -> None:
    async def process(running: Job[Any, Any]) -> None:
        await queue.revoke(running.id)
        if raises:
            raise GroupRateLimitError(PAUSE_S, current_job=current_job)
        await running.rate_limit_group(PAUSE_S, current_job=current_job)

    failed: list[tuple[str, str]] = []
    worker: Worker[Any, Any] = await start_worker(process)
    worker.on("failed", lambda job, error: failed.append((job.id, str(error))))
    assert await job.wait_until_finished(poll=0.01) == "failed"
    assert job.failed_reason == "revoked"
    await eventually(lambda: failed, "the event of the failure")
    assert failed == [(job.id, "revoked")]


@pytest.mark.parametrize("raises", [True, False])
async def test_a_parent_whose_child_has_failed_already_fails_of_that_as_it_is_told(
    queue: Queue[Any, Any], start_worker: Start, raises: bool
) -> None:
    async def process(running: Job[Any, Any]) -> None:
        if running.name == "child":
            raise UnrecoverableError("no luck")
        child = await queue.add("child", None, parent={"queue": queue.name, "id": running.id})
        assert child is not None
        assert await child.wait_until_finished(poll=0.01) == "failed"
        if raises:
            raise WaitingChildrenError
        await running.move_to_waiting_children()

    failed: dict[str, str] = {}
    worker: Worker[Any, Any] = await start_worker(process, concurrency=2)
    worker.on("failed", lambda job, error: failed.update({job.name: str(error)}))
    parent = await queue.add("parent", None)
    assert parent is not None
    assert await parent.wait_until_finished(poll=0.01) == "failed"
    await eventually(lambda: "parent" in failed, "the event of the failure")
    assert failed["parent"] == parent.failed_reason
    assert "failed: no luck" in failed["parent"]


async def test_a_detour_of_a_run_that_lost_its_lease_changes_nothing(
    queue: Queue[Any, Any],
    job: Job[Any, Any],
    start_worker: Start,
    raw: valkey.Valkey,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hash_key = f"glide:{{{queue.name}}}:job:{job.id}"
    ended = asyncio.Event()

    async def process(running: Job[Any, Any]) -> None:
        raw.hset(hash_key, "x-py:run", "another-run")
        raise GroupRateLimitError(PAUSE_S)

    worker: Worker[Any, Any] = await start_worker(process)
    worker.on("failed", lambda job, error: ended.set())
    await eventually(lambda: "its lease was lost while it ran" in caplog.text, "the outcome is refused")
    assert await in_state(queue, job, "active")
    assert raw.hget(hash_key, "x-py:run") == b"another-run"
    assert raw.zcard(f"glide:{{{queue.name}}}:ratelimited") == 0
    assert not ended.is_set()


async def test_a_detour_of_a_removed_job_ends_the_run_and_nothing_else(
    queue: Queue[Any, Any], job: Job[Any, Any], start_worker: Start
) -> None:
    later = await queue.add("next", None, ordering=GROUP)
    assert later is not None

    async def process(running: Job[Any, Any]) -> str:
        if running.id == later.id:
            return "done"
        await running.remove()
        raise GroupRateLimitError(60)

    await start_worker(process)
    assert await later.wait_until_finished(poll=0.01) == "completed"


async def test_a_detour_that_cannot_be_taken_fails_the_job_with_the_reason(
    queue: Queue[Any, Any], start_worker: Start
) -> None:
    async def process(running: Job[Any, Any]) -> None:
        raise GroupRateLimitError(PAUSE_S)

    job = await queue.add("of no group", None)
    assert job is not None
    await start_worker(process)
    assert await job.wait_until_finished(poll=0.01) == "failed"
    assert job.failed_reason == "rate_limit_group() requires a group key (set via ordering.key option)"


async def test_an_error_that_stands_for_no_detour_is_a_failure_like_any_other(
    job: Job[Any, Any], start_worker: Start
) -> None:
    async def process(running: Job[Any, Any]) -> None:
        raise DetourError("where to?")

    await start_worker(process)
    assert await job.wait_until_finished(poll=0.01) == "failed"
    assert job.failed_reason == "where to?"


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_a_detour_waits_for_a_server_that_is_away(
    own_server: ValkeyServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    processor = Detouring(by_method=False)
    waiting, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def coroutine(job: Job[Any, Any]) -> str:
        waiting.set()
        await go_on.wait()
        return await processor.coroutine(job)

    def plain(job: SyncJob[Any, Any]) -> str:
        loop.call_soon_threadsafe(waiting.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(30)
        return processor.plain(job)

    function: Callable[[Any], Any] = coroutine if kind == "coroutine" else plain
    url = f"{own_server.url}?request_timeout=0.2&request_deadline=0.3"
    async with (
        Queue[Any, Any]("away", connection=own_server.url) as queue,
        Worker[Any, Any]("away", function, connection=url) as worker,
    ):
        failed: list[BaseException] = []
        worker.on("failed", lambda job, error: failed.append(error))
        job = await queue.add("fetch", None, ordering=GROUP, attempts=1)
        assert job is not None
        await waiting.wait()
        own_server.kill()
        go_on.set()
        await eventually(lambda: processor.runs == [0], "the processor asks for the detour")
        # The connection has given up by then: it is the detour that goes on asking.
        await eventually(lambda: "what it asked for is repeated" in caplog.text, "the command fails")
        own_server.start()
        assert await job.wait_until_finished(poll=0.05) == "completed"
        assert (job.return_value, job.attempts_made, failed) == ("done", 0, [])


async def test_only_a_running_job_can_take_a_detour(job: Job[Any, Any]) -> None:
    with pytest.raises(JobStateError, match="Cannot rate limit group: not_active"):
        await job.rate_limit_group(1)


async def test_a_run_takes_one_detour(job: Job[Any, Any], start_worker: Start) -> None:
    refusals: list[str] = []

    async def process(running: Job[Any, Any]) -> None:
        if refusals:
            return
        await running.rate_limit_group(PAUSE_S)
        try:
            await running.rate_limit_group(60)
        except JobStateError as error:
            refusals.append(str(error))

    await start_worker(process)
    assert await job.wait_until_finished(poll=0.01) == "completed"
    assert refusals == ["Cannot rate limit group: not_active"]


@pytest.mark.parametrize("duration", [0, -1, float("nan"), float("inf"), True, "1"])
def test_a_duration_that_is_none_is_refused_at_once(duration: Any) -> None:
    with pytest.raises(ValidationError, match="requires a positive finite duration in seconds"):
        GroupRateLimitError(duration)


@pytest.mark.parametrize(
    ("option", "refusal"),
    [
        ({"current_job": "x"}, "current_job must be 'requeue' or 'fail', not 'x'"),
        ({"requeue_position": None}, "requeue_position must be 'front' or 'back', not None"),
        ({"extend": ["max"]}, r"extend must be 'max' or 'replace', not \['max'\]"),
    ],
)
def test_an_unknown_word_is_refused_at_once(option: Any, refusal: str) -> None:
    with pytest.raises(ValidationError, match=refusal):
        GroupRateLimitError(1, **option)
