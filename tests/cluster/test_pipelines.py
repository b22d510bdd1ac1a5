"""Everything that model calls need, together, over three nodes: nothing of it is lost or doubled, whoever is killed."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from glidemq import Budget, FlowProducer, Job, JobNode, Queue
from tests.cluster.app import PLAIN_QUEUES_VARIABLE, QUEUES_VARIABLE
from tests.cluster.rag_app import KEY_VARIABLE
from tests.promises.rag_app import OUTPUT_TOKENS, rag
from tests.testkit.cluster import Cluster, names_on_each_primary
from tests.testkit.process_tree import send
from tests.testkit.runtime import Runtime
from tests.testkit.waiting import eventually

AnyQueue = Queue[Any, Any]

BUDGET = Budget(max_total_tokens=50_000, max_total_cost=10)
PIPELINES = 4
PAUSES_S = {"coroutines": 0.008, "functions": 0.002}  # the latter stream one after the other
ANSWER = {"vector": [1, 2, 3], "text": "written by claude", "approvals": ["approve"]}
TOKENS = [str(number) for number in range(OUTPUT_TOKENS)]


@pytest.fixture(params=["coroutines", "functions"])
def names(request: pytest.FixtureRequest) -> list[str]:
    """Of three queues on as many nodes; the second one is served by functions of the other kind."""
    return names_on_each_primary(f"{request.param}-rag-{uuid.uuid4().hex[:6]}")


@pytest.fixture
async def runtime(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    names: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Runtime]:
    """An actor process for coroutines, and one for plain functions."""
    kinds = [QUEUES_VARIABLE, PLAIN_QUEUES_VARIABLE]
    if names[0].startswith("functions"):
        kinds.reverse()
    monkeypatch.setenv(kinds[0], f"{names[0]},{names[2]}")
    monkeypatch.setenv(kinds[1], names[1])
    monkeypatch.setenv(KEY_VARIABLE, names[0])
    running = Runtime(
        tmp_path / "runtime", "tests.cluster.rag_app:app", url=cluster.url, effects=tmp_path / "effects",
        arguments=("--procs", "1"), settings={"restart_intensity": 20},
    ).start()  # fmt: skip
    try:
        yield await running.ready()
        assert running.stop() == 0
    finally:
        running.clean_up()


class Pipelines:
    """Some of them under way, and readers of all their streams. Owns: the readers. Stops when: closed."""

    def __init__(self, roots: AnyQueue, generating: AnyQueue, nodes: list[JobNode]) -> None:
        self.roots = roots
        self._generating = generating
        self._jobs = [(node.job, *(child.job for child in node.children)) for node in nodes]
        self.ids = {root.id for root, _, _ in self._jobs}
        self._chunks = 0
        self._readers = [asyncio.ensure_future(self._read(generate)) for _, _, generate in self._jobs]

    async def _read(self, generate: Job[Any, Any]) -> list[tuple[int, str]]:
        entries: list[tuple[int, str]] = []
        async for entry in self._generating.stream(generate.id):
            if "t" in entry.fields:
                entries.append((entry.attempt, entry.fields["t"]))
                self._chunks += 1
        return entries

    async def stream_on(self) -> None:
        """Wait until some more is streamed, though not all of it."""
        before = self._chunks
        await eventually(lambda: self._chunks > before, "a job streams")
        assert not all(reader.done() for reader in self._readers)

    async def wait_for_review(self) -> None:
        async def so() -> bool:
            return {job.id for job in await self.roots.get_suspended_jobs()} == self.ids

        await eventually(so, "all pipelines wait to be reviewed", within_s=30)

    async def check(self) -> None:
        """Wait until all have completed; nothing that was streamed or paid for is missing or there twice."""
        for root, _, _ in self._jobs:
            await eventually(root.is_completed, "the answer", within_s=30)
            await root.refresh()
            assert (root.return_value, root.attempts_made) == (ANSWER, 0)
            await eventually(lambda root=root: self._is_settled(root), "the budget is settled")  # type: ignore[misc]
        for entries in await asyncio.gather(*self._readers):
            runs = [[token for _, token in run] for _, run in groupby(entries, lambda entry: entry[0])]
            assert len(runs) == len({attempt for attempt, _ in entries})
            assert runs[-1] == TOKENS
            assert all(run == TOKENS[: len(run)] for run in runs)

    def close(self) -> None:
        for reader in self._readers:
            reader.cancel()

    async def _is_settled(self, root: Job[Any, Any]) -> bool:
        usage, budget = (
            await self.roots.get_flow_usage(root.id),
            await self.roots.get_flow_budget(root.id),
        )
        assert budget is not None
        assert not budget.exceeded
        return (
            budget.used_tokens == usage.total_tokens
            and budget.used_cost == pytest.approx(usage.total_cost)
            and (budget.reserved_tokens, budget.reserved_cost) == (0, 0)
        )


@pytest.fixture
async def pipelines(cluster: Cluster, names: list[str], runtime: Runtime) -> AsyncIterator[Pipelines]:
    async with (
        FlowProducer(connection=cluster.url) as flows,
        AnyQueue(names[0], connection=cluster.url) as roots,
        AnyQueue(names[2], connection=cluster.url) as generating,
    ):
        pause_s = PAUSES_S[names[0].partition("-")[0]]
        trees = [rag(*names, die=number == 0, pause_s=pause_s) for number in range(PIPELINES)]
        nodes = await flows.add_bulk(trees, budget=[BUDGET] * PIPELINES)
        made = Pipelines(roots, generating, nodes)
        yield made
        made.close()


async def test_pipelines_over_three_nodes_go_on_where_they_waited_for_their_review(
    pipelines: Pipelines,
) -> None:
    await pipelines.wait_for_review()
    for job_id in pipelines.ids:
        assert await pipelines.roots.signal(job_id, "approve") is True
    await pipelines.check()
    for job_id in pipelines.ids:
        assert (await pipelines.roots.get_job_logs(job_id)).logs == ["goes on"]


async def test_pipelines_lose_and_double_nothing_when_every_process_is_killed_at_every_stage(
    pipelines: Pipelines, runtime: Runtime
) -> None:
    await pipelines.stream_on()
    send(runtime.actors().values(), signal.SIGKILL)
    await pipelines.stream_on()
    send([runtime.gateway], signal.SIGKILL)
    await pipelines.wait_for_review()
    # With them goes what was to be done after the review.
    send([runtime.gateway, *runtime.actors().values()], signal.SIGKILL)
    for job_id in pipelines.ids:
        assert await pipelines.roots.signal(job_id, "approve") is True
    await pipelines.check()
    for job_id in pipelines.ids:
        assert (await pipelines.roots.get_job_logs(job_id)).logs == []
