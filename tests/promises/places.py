"""Fixtures for promises that hold wherever jobs are processed: in this process, or in actor processes, with one server
or a cluster.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, TypeAlias

import pytest

from glidemq import Queue, Worker
from glidemq.app_loader import import_app
from tests.testkit.cluster import Cluster
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer

AnyQueue: TypeAlias = Queue[Any, Any]
Served: TypeAlias = Callable[[str], Runtime]
Processed: TypeAlias = Callable[..., AbstractAsyncContextManager[AnyQueue]]


class Place(NamedTuple):
    """Where a test's keys are. url: the server. prefix: nobody else's, since others use that server too."""

    url: str
    prefix: str


@pytest.fixture(scope="module", params=["standalone", "cluster"])
def place(request: pytest.FixtureRequest) -> Place:
    """The shared server, and the shared cluster."""
    name = "cluster" if request.param == "cluster" else "server"
    shared: ValkeyServer | Cluster = request.getfixturevalue(name)
    return Place(shared.url, uuid.uuid4().hex[:8])


@pytest.fixture(scope="module")
def served(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`served(app)`: a supervisor with an actor process of each kind, started once for the module's tests."""
    directory = tmp_path_factory.mktemp("served")
    made: dict[str, Runtime] = {}

    def start(app: str) -> Runtime:
        if app not in made:
            made[app] = Runtime(
                directory / f"runtime-{len(made)}",
                app,
                url=place.url,
                effects=directory,
                arguments=["--procs", "1"],
                settings={"prefix": place.prefix},
            ).start()
        return made[app]

    yield start
    try:
        assert [runtime.stop() for runtime in made.values()] == [0] * len(made)
    finally:
        for runtime in made.values():
            runtime.clean_up()


@pytest.fixture(params=["worker", "actors"])
def processed(request: pytest.FixtureRequest, place: Place, served: Served) -> Processed:
    """`async with processed(app, name) as queue`: one of an app's queues, while its jobs are processed.

    What more is given goes to the `Worker`, which knows nothing of the app but the function.
    """

    @contextlib.asynccontextmanager
    async def process(app: str, name: str, **options: Any) -> AsyncGenerator[AnyQueue, None]:
        if request.param == "actors":
            await served(app).ready()
            async with AnyQueue(name, connection=place.url, prefix=place.prefix) as queue:
                yield queue
            return
        where: Any = {"connection": place.url, "prefix": f"{place.prefix}-worker"}
        function = import_app(app).processors[name].function
        async with AnyQueue(name, **where) as queue, Worker[Any, Any](name, function, **where, **options):
            yield queue

    return process
