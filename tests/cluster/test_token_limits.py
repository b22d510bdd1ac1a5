"""Queues in different slots share one limit key, whose windows and observations live in a slot of their own."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from glidemq import Job, Queue, Worker, limits
from glidemq.commands.keys import limit_meta_key
from tests.cluster import limit_app
from tests.cluster.app import PLAIN_QUEUES_VARIABLE, QUEUES_VARIABLE
from tests.cluster.limit_app import MAX_STARTS, MAX_TOKENS, TOKENS, WINDOW_S
from tests.testkit.cluster import Cluster, names_on_each_primary
from tests.testkit.runtime import Runtime
from tests.testkit.waiting import eventually

RUN = uuid.uuid4().hex[:6]  # several processes of one run of pytest share the cluster
NAMES = {host: names_on_each_primary(f"{host}-limited-{RUN}")[:2] for host in ("workers", "actors")}
KEYS = {host: f"{host}-provider-{RUN}" for host in NAMES}
# Jobs added then start when every host has heard of what a provider has said.
HEARD_AFTER_S = 1.0

AnyQueue = Queue[Any, Any]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Runtime]:
    """An actor process for the first queue's coroutines, and one for the second's plain functions."""
    directory = tmp_path_factory.mktemp("limits")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(limit_app.KEY_VARIABLE, KEYS["actors"])
        environment.setenv(QUEUES_VARIABLE, NAMES["actors"][0])
        environment.setenv(PLAIN_QUEUES_VARIABLE, NAMES["actors"][1])
        running = Runtime(
            directory, "tests.cluster.limit_app:app", url=cluster.url, effects=directory / "effects",
            arguments=("--procs", "1"),
        ).start()  # fmt: skip
    yield running
    try:
        assert running.stop() == 0
        assert not running.lines(" ERROR ")
    finally:
        running.clean_up()


@pytest.fixture(params=NAMES)
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def queues(
    request: pytest.FixtureRequest, host: str, cluster: Cluster
) -> AsyncIterator[list[AnyQueue]]:
    """Two queues on different nodes, which share a limit key; empty, and served."""
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(AnyQueue(name, connection=cluster.url)) for name in NAMES[host]
        ]
        assert len({cluster.primary_of(queue.keys.meta) for queue in made}) == 2
        for queue in made:
            await queue.clean(0, 1000, "completed")
            await asyncio.to_thread(cluster.client().delete, f"{queue.keys.base}:rate")  # of a first try
        if host == "actors":
            await request.getfixturevalue("runtime").ready()
        for queue in made if host == "workers" else ():
            await stack.enter_async_context(
                Worker[Any, Any](
                    queue.name, limit_app.call, connection=cluster.url, concurrency=5,
                    **limit_app.limits_of(KEYS[host]),
                )
            )  # fmt: skip
        yield made


async def completed(queues: Sequence[AnyQueue], count: int) -> list[list[Job[Any, Any]]]:
    """The jobs of each queue, once so many have completed in all of them."""

    async def so_many() -> bool:
        return sum([(await queue.get_job_counts())["completed"] for queue in queues]) == count

    await eventually(so_many, f"{count} jobs are completed")
    return [await queue.get_jobs("completed", 0, -1) for queue in queues]


def started_at(job: Job[Any, Any]) -> float:
    assert job.processed_on is not None
    return job.processed_on.timestamp()


async def test_one_limit_key_holds_for_queues_of_several_nodes(queues: list[AnyQueue]) -> None:
    many, few = 2 * MAX_STARTS + 1, MAX_STARTS - 1
    for queue, jobs in zip(queues, (many, few), strict=True):
        await queue.add_bulk([("use", None) for _ in range(jobs)])
    found = await completed(queues, many + few)
    starts = [sorted(started_at(job) for job in jobs) for jobs in found]
    windows = Counter(int(at / WINDOW_S) for at in itertools.chain.from_iterable(starts))
    assert max(windows.values()) * TOKENS <= MAX_TOKENS, "the limit of both"
    assert starts[0][-1] - starts[0][0] >= 2 * WINDOW_S, (
        "the queue's own limit: its windows begin with a start"
    )


@pytest.mark.parametrize("who", ["a job", "somebody outside"])
async def test_what_a_provider_says_holds_back_queues_of_other_slots(
    queues: list[AnyQueue], host: str, cluster: Cluster, who: str
) -> None:
    key, retry_after_s = KEYS[host], 1.6
    key_node = cluster.primary_of(limit_meta_key("glide", key))
    assert any(cluster.primary_of(queue.keys.meta) != key_node for queue in queues)
    if who == "a job":
        told = await queues[1].add("ask", {"key": key, "retry_after": retry_after_s})
        assert told is not None
        await completed(queues, 1)
        await told.refresh()
        begin = started_at(told)
    else:
        begin = datetime.now(UTC).timestamp()
        await limits.observe(key, retry_after=retry_after_s, connection=cluster.url)
    others = await asyncio.gather(*(queue.add("use", None, delay=HEARD_AFTER_S) for queue in queues))
    await completed(queues, 3 if who == "a job" else 2)
    for job in others:
        assert job is not None
        await job.refresh()
        assert started_at(job) - begin >= retry_after_s
