"""Which job starts next: priorities 1 to 2048, then the newest of LIFO, then the oldest of the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from glidemq import Job, JobTemplate, Queue, Schedule, ValidationError, Worker
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.basics_app:app"
KINDS = ["sync", "async"]

AnyQueue = Queue[Any, Any]

# In the order of their adds, with the place in which each is to start.
MIXED: list[tuple[int, dict[str, Any]]] = [
    (7, {}),
    (6, {"lifo": True}),
    (4, {"priority": 2048}),
    (2, {"priority": 3}),
    (5, {"lifo": True}),
    (8, {}),
    (1, {"priority": 1}),
    (3, {"priority": 3, "lifo": True}),
]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(queue_name, connection=server.url) as made:
        yield made


class Order:
    """A processor that notes what it was given."""

    def __init__(self) -> None:
        self.data: list[Any] = []

    async def take(self, job: Job[Any, Any]) -> None:
        self.data.append(job.data)

    async def has(self, number: int) -> None:
        await eventually(lambda: len(self.data) >= number, f"{number} jobs have started")


@pytest.fixture
def order() -> Order:
    return Order()


@pytest.mark.parametrize("kind", KINDS)
async def test_actor_processes_start_the_most_urgent_first(
    launch: Callable[..., Runtime], own_server: ValkeyServer, history: History, kind: str
) -> None:
    async with AnyQueue(f"{kind}-order", connection=own_server.url) as queue:
        await launch(APP, "--procs", "1").ready()
        # The first holds the only slot, so that what follows is chosen from all of them.
        first = await queue.add("first", "gate")
        assert first is not None
        await eventually(lambda: history.runs_of(first.id), "the first one runs")
        places = {}
        for place, options in MIXED:
            job = await queue.add("n", place, **options)
            assert job is not None
            places[job.id] = place
        history.open_gate("order")
        await eventually(lambda: len(history.finished()) == 1 + len(MIXED), "all have run")
        assert [places[run.id] for run in history.runs()[1:]] == list(range(1, 1 + len(MIXED)))


async def test_the_newest_of_lifo_starts_first(queue: AnyQueue, server: ValkeyServer, order: Order) -> None:
    for frame in (100, 101, 102):
        await queue.add("render", frame, lifo=True)
    async with Worker[Any, Any](queue.name, order.take, connection=server.url):
        await order.has(3)
    assert order.data == [102, 101, 100]


async def test_an_urgent_job_behind_thousands_starts_next(
    queue: AnyQueue, server: ValkeyServer, order: Order
) -> None:
    await queue.pause()
    await queue.add_bulk([("batch", number, {"priority": 5}) for number in range(3000)])
    async with Worker[Any, Any](queue.name, order.take, connection=server.url):
        await queue.resume()
        await order.has(10)
        started = len(order.data)
        await queue.add("live", "urgent", priority=1)
        await eventually(lambda: "urgent" in order.data, "the urgent job has started")
        assert len(order.data) < 3000, f"it came after {started} of them"


async def test_delayed_jobs_keep_their_urgency(
    queue: AnyQueue, server: ValkeyServer, raw: Any, order: Order
) -> None:
    await queue.pause()
    for data, options in (
        ("plain", {}),
        ("older", {"lifo": True, "delay": 0.01}),
        ("newer", {"lifo": True, "delay": 0.02}),
        ("urgent", {"priority": 2, "delay": 0.03}),
    ):
        await queue.add("n", data, **options)  # type: ignore[arg-type]

    added_s, _ = raw.time()
    await eventually(lambda: raw.time()[0] > added_s, "all are due by the server's clock")
    async with Worker[Any, Any](queue.name, order.take, connection=server.url):
        await queue.resume()
        await order.has(4)
    assert order.data == ["urgent", "newer", "older", "plain"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"lifo": True}, ["scheduled", "plain"]),
        ({"priority": 1}, ["scheduled", "plain"]),
        ({}, ["plain", "scheduled"]),
    ],
)
async def test_schedulers_make_urgent_jobs_too(
    queue: AnyQueue, server: ValkeyServer, order: Order, options: dict[str, Any], expected: list[str]
) -> None:
    await queue.pause()
    await queue.add("n", "plain")
    await queue.upsert_job_scheduler(
        "once", Schedule(every=0.01, limit=1), JobTemplate("n", "scheduled", options)
    )
    async with Worker[Any, Any](queue.name, order.take, connection=server.url, promotion_interval=0.02):
        await eventually(lambda: _none_left(queue), "the scheduler has made its job")
        await queue.resume()
        await order.has(2)
    assert order.data == expected


async def _none_left(queue: AnyQueue) -> bool:
    return not await queue.get_repeatable_jobs()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lifo": True},
        {"priority": 7},
        {"delay": 0.02},
        {"delay": 0.02, "lifo": True},
        {"delay": 0.02, "priority": 7},
        {"ordering": {"key": "a"}},
    ],
    ids=str,
)
async def test_an_idle_worker_hears_of_every_kind_of_job_at_once(
    queue: AnyQueue, server: ValkeyServer, order: Order, options: dict[str, Any]
) -> None:
    # Neither the end of a blocking read nor the next tick would find the job in time.
    worker = Worker[Any, Any](queue.name, order.take, connection=server.url, block=10, promotion_interval=60)
    async with worker:
        for number in (1, 2, 3):
            await eventually(lambda: worker._cell.readers.blocking, "the worker blocks")  # type: ignore[union-attr]
            await queue.add("n", number, **options)
            await eventually(lambda: len(order.data) == number, "it has started", within_s=5)  # noqa: B023
    assert order.data == [1, 2, 3]


async def test_lifo_and_an_ordering_key_exclude_each_other() -> None:
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as unreachable:
        with pytest.raises(ValidationError, match=r"^lifo and ordering\.key cannot be used together$"):
            await unreachable.add("n", 1, lifo=True, ordering={"key": "a"})
        template = JobTemplate("n", 1, {"lifo": True, "ordering": {"key": "a"}})
        with pytest.raises(
            ValidationError, match=r"^Scheduler template: lifo and ordering\.key cannot be used together$"
        ):
            await unreachable.upsert_job_scheduler("s", Schedule(every=1), template)
