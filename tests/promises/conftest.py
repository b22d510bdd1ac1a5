"""What the promises are tested with: the server library, a queue, and hosts in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glidemq import Queue
from tests.architecture.repository import ROOT
from tests.lua.conftest import call, driven, library, queue
from tests.promises.places import place, processed, served
from tests.testkit.effects import History
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer

__all__ = [
    "call", "driven", "history", "launch", "library", "place", "processed", "queue", "run_hosts", "served"
]  # fmt: skip

AnyQueue = Queue[Any, Any]
RunHosts = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run_hosts(server: ValkeyServer, library: None) -> RunHosts:
    """`run_hosts(queue, hosts=4, jobs=100)`: several stepping hosts at once; what each of them saw."""

    def run(queue: str, *, hosts: int, jobs: int, given_back: float = 0.0) -> list[dict[str, Any]]:
        arguments = [str(server.socket), queue]
        command = [sys.executable, "-m", "tests.promises.stepping_host", *arguments]
        processes = [
            subprocess.Popen(
                [*command, f"host-{number}", str(jobs), str(given_back)], cwd=ROOT, stdout=subprocess.PIPE
            )
            for number in range(hosts)
        ]
        try:
            replies = [process.communicate(timeout=90)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        assert [process.returncode for process in processes] == [0] * hosts
        return [json.loads(reply) for reply in replies]

    return run


@pytest.fixture
def history(tmp_path: Path) -> History:
    """What the processors of `launch` wrote down."""
    return History(tmp_path / "effects")


@pytest.fixture
def launch(tmp_path: Path, own_server: ValkeyServer, history: History) -> Iterator[Callable[..., Runtime]]:
    """`launch(app, *arguments, **settings)`: a supervisor over an app and the test's own server, gone with the test."""
    made: list[Runtime] = []

    def start(app: str, *arguments: str, **settings: object) -> Runtime:
        runtime = Runtime(
            tmp_path / f"runtime-{len(made)}",
            app,
            url=own_server.url,
            effects=history.directory,
            arguments=arguments,
            settings=settings,
        )
        made.append(runtime)
        return runtime.start()

    yield start
    for runtime in made:
        runtime.clean_up()


@pytest.fixture
def dead_name(queue_name: str) -> str:
    return f"{queue_name}-dead"


@pytest.fixture
async def failing(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    """A queue for jobs that fail."""
    async with AnyQueue(queue_name, connection=server.url) as queue:
        yield queue


@pytest.fixture
async def dead(server: ValkeyServer, dead_name: str) -> AsyncIterator[AnyQueue]:
    """Where they are to go."""
    async with AnyQueue(dead_name, connection=server.url) as queue:
        yield queue
