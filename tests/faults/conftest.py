"""What the fault tests share: runtimes that leave nothing behind, the history, a producer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import pytest

from glidemq.client.queue import NewJob, Queue
from glidemq.errors import ConnectionError, UnknownOutcomeError
from glidemq.options import JobOptions
from tests.testkit.checker import QueueOnServer
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer

SYNC_APP = "tests.faults.sync_app:app"
ASYNC_APP = "tests.faults.async_app:app"
Deed: TypeAlias = "list[Any]"
APP_OF = {"sync": SYNC_APP, "async": ASYNC_APP}


class Launch(Protocol):
    """Starts a runtime over an app."""

    def __call__(self, app: str, *arguments: str, url: str | None = ..., **settings: object) -> Runtime: ...


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "effects")


@pytest.fixture
def launch(tmp_path: Path, own_server: ValkeyServer, history: History) -> Iterator[Launch]:
    """Starts runtimes against the test's own server, unless another URL is given, and ends them with the test."""
    made: list[Runtime] = []

    def start(app: str, *arguments: str, url: str | None = own_server.url, **settings: object) -> Runtime:
        directory = tmp_path / f"runtime-{len(made)}"
        runtime = Runtime(
            directory, app, url=url, effects=history.directory, arguments=arguments, settings=settings
        )
        made.append(runtime)
        return runtime.start()

    yield start
    for runtime in made:
        runtime.clean_up()


class Producer:
    """Adds jobs through the public client and remembers what was acknowledged.

    Owns: the queue's connection, and the load under way. Stops when: closed.
    """

    def __init__(self, queue: Queue[Any, Any]) -> None:
        self.queue = queue
        self.acked: list[str] = []
        self.doubtful: list[str] = []  # adds without an answer: executed or not
        self.refused = 0  # adds that were certainly not executed
        self._load: asyncio.Task[None] | None = None
        self._loading = False
        self._numbers = itertools.count(1)

    async def add(self, *deeds: Deed, data: dict[str, Any] | None = None, **options: Any) -> str:
        """Add one job; its id."""
        job = await self.queue.add("job", {"deeds": deeds, **(data or {})}, **options)
        assert job is not None
        self.acked.append(job.id)
        return job.id

    async def add_many(self, count: int, *deeds: Deed, **options: Any) -> list[str]:
        """Add so many equal jobs in one call."""
        return await self.add_each([deeds] * count, **options)

    async def add_each(self, jobs: Iterable[Sequence[Deed]], **options: Any) -> list[str]:
        """Add jobs that do different things, in one call; their ids."""
        new: list[NewJob[Any]] = [("job", {"deeds": deeds}, cast(JobOptions, options)) for deeds in jobs]
        added = await self.queue.add_bulk(new)
        ids = [job.id for job in added]
        self.acked += ids
        return ids

    def begin_load(self, *deeds: Deed, per_second: float) -> None:
        """Add such jobs, by ids of our own, until `end_load`; an add that fails is not repeated."""
        self._loading = True
        self._load = asyncio.get_running_loop().create_task(self._keep_adding(deeds, 1 / per_second))

    async def end_load(self) -> list[str]:
        """Stop adding; the ids of all that were acknowledged so far."""
        self._loading = False
        load, self._load = self._load, None
        if load is not None:
            await load
        return self.acked

    async def _keep_adding(self, deeds: tuple[Deed, ...], interval_s: float) -> None:
        while self._loading:
            job_id = f"load-{next(self._numbers)}"
            try:
                await self.add(*deeds, job_id=job_id)
            except UnknownOutcomeError:
                self.doubtful.append(job_id)
            except ConnectionError:
                self.refused += 1
            await asyncio.sleep(interval_s)


class Produce(Protocol):
    """Makes a producer for a queue."""

    def __call__(self, queue: str, url: str = ...) -> Producer: ...


@pytest.fixture
async def produce(own_server: ValkeyServer) -> AsyncIterator[Produce]:
    """Makes producers by queue name, for the test's own server unless another is named."""
    made: list[Producer] = []

    def make(queue: str, url: str = own_server.url) -> Producer:
        made.append(Producer(Queue(queue, connection=url)))
        return made[-1]

    yield make
    for producer in made:
        await producer.end_load()
        await producer.queue.close()


Look = Callable[[str], QueueOnServer]


@pytest.fixture
def look(own_server: ValkeyServer) -> Iterator[Look]:
    """Looks at queues of the test's own server by name, raw."""
    client: Any = own_server.client()
    yield lambda queue: QueueOnServer(client, queue)
    client.close()
