"""A job can wait for a person: it holds no slot meanwhile, loses no signal and no attempt, and runs out of time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from glidemq import (
    FlowProducer,
    Job,
    JobStateError,
    Ordering,
    Queue,
    QueueEvents,
    ResumedEvent,
    SuspendError,
    SyncJob,
    ValidationError,
    Worker,
)
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

AnyQueue = Queue[Any, Any]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(queue_name, connection=server.url) as made:
        yield made


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "effects")


@pytest.fixture
def runtime(own_server: ValkeyServer, tmp_path: Path, history: History) -> Iterator[Runtime]:
    made = Runtime(
        tmp_path / "runtime",
        "tests.promises.suspend_app:app",
        url=own_server.url,
        effects=tmp_path / "effects",
        arguments=["--procs", "1"],
    )
    yield made.start()
    made.clean_up()


async def added(queue: AnyQueue, name: str = "ask", data: Any = None, **options: Any) -> Job[Any, Any]:
    job = await queue.add(name, data, **options)
    assert job is not None
    return job


async def suspended(queue: AnyQueue, job: Job[Any, Any]) -> None:
    async def is_suspended() -> bool:
        return await queue.get_suspend_info(job.id) is not None

    await eventually(is_suspended, f"job {job.id} waits for a signal")


async def ask(job: Job[Any, Any]) -> Any:
    """Waits for as many signals as its data says, one after the other."""
    if len(job.signals) < job.data:
        await job.suspend(reason=f"signal {len(job.signals) + 1}")
        raise AssertionError("what follows a wait never runs")
    return [signal.name for signal in job.signals]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("how", ["raise", "call"])
async def test_actor_process_is_free_while_its_job_waits_for_an_approval(
    runtime: Runtime, own_server: ValkeyServer, history: History, kind: str, how: str
) -> None:
    await runtime.ready()
    async with AnyQueue(f"{kind}-approvals", connection=own_server.url) as queue:
        # More than there are slots: the later ones run since the earlier ones hold none.
        jobs = [await added(queue, data={"how": how, "timeout": 600}, attempts=1) for _ in range(6)]
        for job in jobs:
            await suspended(queue, job)
        info = await queue.get_suspend_info(jobs[0].id)
        assert info is not None
        assert (info.reason, info.timeout, info.signals) == ("approval", 600, ())
        assert len(await queue.get_suspended_jobs()) == 6
        assert (await queue.get_job_counts())["active"] == 0
        assert await queue.signal(jobs[0].id, "approve", {"by": "ann"}) is True
        assert await jobs[0].wait_until_finished(poll=0.01) == "completed"
        assert (jobs[0].return_value, jobs[0].attempts_made) == ([["approve", {"by": "ann"}]], 0)
        assert [len(history.runs_of(job.id, queue.name)) for job in jobs] == [2, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_supervised_runtime_ends_a_wait_whose_time_is_over(
    runtime: Runtime, own_server: ValkeyServer, kind: str
) -> None:
    await runtime.ready()
    async with AnyQueue(f"{kind}-approvals", connection=own_server.url) as queue:
        job = await added(queue, data={"how": "call", "timeout": 0.3}, attempts=3)
        assert await job.wait_until_finished(poll=0.01, timeout=5) == "failed"
        assert (job.failed_reason, job.attempts_made) == ("Suspend timeout exceeded", 0)
        assert await queue.signal(job.id, "too late") is False


async def test_processor_starts_over_with_all_signals_so_far(queue: AnyQueue, server: ValkeyServer) -> None:
    names: list[tuple[str, Any]] = []
    async with (
        QueueEvents(queue.name, connection=server.url) as events,
        Worker[Any, Any](queue.name, ask, connection=server.url),
    ):
        job = await added(queue, data=2)
        for name in ("first", "second"):
            await suspended(queue, job)
            assert await queue.signal(job.id, name) is True
        async for event in events:
            names.append((event.name, event.signal if isinstance(event, ResumedEvent) else None))
            if event.name == "completed":
                break
        await job.refresh()
        assert (job.return_value, job.attempts_made) == (["first", "second"], 0)
    assert names == [
        ("added", None),
        ("suspended", None),
        ("resumed", "first"),
        ("suspended", None),
        ("resumed", "second"),
        ("completed", None),
    ]


async def test_signals_that_come_before_the_wait_end_it_at_once(
    queue: AnyQueue, server: ValkeyServer
) -> None:
    job = await added(queue, data=2)
    assert await queue.signal(job.id, "early") is False
    running, go_on = asyncio.Event(), asyncio.Event()
    seen: list[int] = []

    async def process(job: Job[Any, Any]) -> Any:
        seen.append(len(job.signals))
        running.set()
        await go_on.wait()
        return await ask(job)

    async with Worker[Any, Any](queue.name, process, connection=server.url):
        await running.wait()
        assert await queue.signal(job.id, "while it runs") is False
        go_on.set()
        assert await job.wait_until_finished(poll=0.01) == "completed"
    assert job.return_value == ["early", "while it runs"]
    assert seen == [0, 2]


async def test_plain_function_waits_as_a_coroutine_does(queue: AnyQueue, server: ValkeyServer) -> None:
    def process(job: SyncJob[Any, Any]) -> Any:
        if not job.signals:
            try:
                job.suspend()
            except Exception as error:  # even swallowed, the wait counts
                return type(error).__name__
        return job.signals[0].data

    async with Worker[Any, Any](queue.name, process, connection=server.url):
        job = await added(queue)
        await suspended(queue, job)
        assert await queue.signal(job.id, "go", 7) is True
        assert await job.wait_until_finished(poll=0.01) == "completed"
        assert job.return_value == 7


async def test_ordered_job_keeps_its_turn_and_others_lend_their_slot(
    queue: AnyQueue, server: ValkeyServer
) -> None:
    order: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        if job.name.startswith("asks") and not job.signals:
            raise SuspendError
        order.append(job.name)

    strict, wide = Ordering(key="strict"), Ordering(key="wide", concurrency=2)
    asking = [
        await added(queue, "asks strict", ordering=strict),
        await added(queue, "asks wide", ordering=wide),
    ]
    behind = [await added(queue, "strict", ordering=strict)]
    wides = [await added(queue, "wide", ordering=wide) for _ in range(3)]
    async with Worker[Any, Any](queue.name, process, connection=server.url, concurrency=10):
        for job in wides:
            await job.wait_until_finished(poll=0.01)
        assert order == ["wide"] * 3
        assert await behind[0].get_state() != "completed"
        for job in asking:
            await queue.signal(job.id, "go")
        for job in [*asking, *behind]:
            await job.wait_until_finished(poll=0.01)
    assert order.index("asks strict") < order.index("strict")


async def test_wait_that_ran_out_of_time_becomes_a_dead_letter_and_fails_the_parent(
    queue: AnyQueue, server: ValkeyServer
) -> None:
    async def process(job: Job[Any, Any]) -> None:
        if job.name == "ask":
            raise SuspendError(timeout=0.05)

    await queue.set_dead_letter_queue(f"{queue.name}-dead")
    async with (
        FlowProducer(connection=server.url) as flows,
        Worker[Any, Any](queue.name, process, connection=server.url),
    ):
        root = await flows.add(
            {
                "name": "root",
                "queue_name": queue.name,
                "children": [{"name": "ask", "queue_name": queue.name}],
            }
        )
        assert await root.job.wait_until_finished(poll=0.01) == "failed"
        child = root.children[0].job
        await child.refresh()
        assert child.failed_reason == "Suspend timeout exceeded"

        async def letters() -> list[str]:
            return [letter.data["originalJobId"] for letter in await queue.get_dead_letter_jobs()]

        async def is_told() -> bool:
            return child.id in await letters()

        await eventually(is_told, "the dead letter arrives")


async def test_suspended_job_can_be_revoked_and_removed(queue: AnyQueue, server: ValkeyServer) -> None:
    async with Worker[Any, Any](queue.name, ask, connection=server.url):
        jobs = [await added(queue, data=1) for _ in range(2)]
        for job in jobs:
            await suspended(queue, job)
        assert await queue.revoke(jobs[0].id) == "revoked"
        assert await queue.remove(jobs[1].id) is True
        await jobs[0].refresh()
        assert (await jobs[0].get_state(), jobs[0].failed_reason) == ("failed", "revoked")
        assert await queue.get_suspended_jobs() == []


async def test_only_a_running_job_can_wait(queue: AnyQueue) -> None:
    job = await added(queue)
    with pytest.raises(
        JobStateError, match=r"suspend\(\) can only be used while the job is active in a Worker"
    ):
        await job.suspend()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeout": -1}, "timeout must be a non-negative finite number"),
        ({"reason": 5}, "reason must be text, not int"),
        ({"reason": "\ud800"}, "reason must be valid Unicode"),
        ({"reason": "x" * (1 << 20) + "x"}, "Suspend reason exceeds maximum size"),
    ],
)
async def test_bad_arguments_are_refused_before_anything_is_sent(
    queue: AnyQueue, arguments: dict[str, Any], message: str
) -> None:
    job = await added(queue)
    with pytest.raises(ValidationError, match=message):
        await job.suspend(**arguments)
