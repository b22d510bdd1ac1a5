"""A job's own lock counts on every node: a job of a frozen host is taken at it, however rarely others look for such."""

from __future__ import annotations

import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from glidemq import Job, Queue, Worker
from tests.cluster.app import PLAIN_QUEUES_VARIABLE, QUEUES_VARIABLE
from tests.testkit.cluster import Cluster, names_on_each_primary
from tests.testkit.effects import History
from tests.testkit.process_tree import send, state_of
from tests.testkit.runtime import Runtime
from tests.testkit.waiting import eventually

AnyQueue = Queue[Any, Any]

LOCK_S, LONG_LOCK_S = 1, 60


@pytest.fixture
def names() -> list[str]:
    """Served by coroutines, and by plain functions; on different nodes."""
    return names_on_each_primary(f"locks-{uuid.uuid4().hex[:6]}")[:2]


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "effects")


@pytest.fixture
def runtime(
    cluster: Cluster, names: list[str], tmp_path: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runtime]:
    monkeypatch.setenv(QUEUES_VARIABLE, names[0])
    monkeypatch.setenv(PLAIN_QUEUES_VARIABLE, names[1])
    made = Runtime(
        tmp_path / "runtime", "tests.cluster.app:app", url=cluster.url, effects=history.directory,
        arguments=("--procs", "2"),
    ).start()  # fmt: skip
    yield made
    made.clean_up()


@pytest.fixture
async def queues(cluster: Cluster, names: list[str]) -> AsyncIterator[list[AnyQueue]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(AnyQueue(name, connection=cluster.url)) for name in names]


async def finish(job: Job[Any, Any]) -> str:
    return "elsewhere"


async def test_jobs_of_a_frozen_host_are_found_at_their_own_locks_on_every_node(
    cluster: Cluster, runtime: Runtime, queues: list[AnyQueue], history: History
) -> None:
    await runtime.ready()
    short = [await queue.add("until_open", "never", lock_duration=LOCK_S) for queue in queues]
    long = [await queue.add("until_open", "never", lock_duration=LONG_LOCK_S) for queue in queues]
    await eventually(lambda: len(history.running()) == 4, "all of them run")
    tree = runtime.tree()
    send(tree, signal.SIGSTOP)
    await eventually(lambda: all(state_of(pid) == "T" for pid in tree), "every process is stopped")
    async with AsyncExitStack() as stack:
        for queue in queues:
            await stack.enter_async_context(Worker[Any, Any](queue.name, finish, connection=cluster.url))
        for job in short:
            assert job is not None
            assert await job.wait_until_finished(poll=0.02, timeout=10) == "completed"
            assert (job.return_value, job.stalled_count) == ("elsewhere", 1)
        for job in long:
            assert job is not None
            assert await job.get_state() == "active"
