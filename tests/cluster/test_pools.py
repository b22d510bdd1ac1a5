"""Pools and weights divide processes among queues of different nodes."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glidemq import Queue
from tests.cluster.app import PLAIN_QUEUES_VARIABLE
from tests.testkit.cluster import Cluster, names_on_each_primary
from tests.testkit.runtime import Runtime
from tests.testkit.waiting import eventually

AnyQueue = Queue[Any, Any]


@pytest.fixture
def names() -> list[str]:
    return names_on_each_primary(f"pools-{uuid.uuid4().hex[:6]}")


@pytest.fixture
def runtime(
    cluster: Cluster, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runtime]:
    monkeypatch.setenv(PLAIN_QUEUES_VARIABLE, ",".join(names))
    made = Runtime(
        tmp_path / "runtime", "tests.cluster.pools_app:app", url=cluster.url, effects=tmp_path / "effects"
    )
    yield made
    made.clean_up()


async def test_live_work_has_its_own_process_and_weights_divide_the_other_one(
    cluster: Cluster, names: list[str], runtime: Runtime
) -> None:
    live, heavy, light = (AnyQueue(name, connection=cluster.url) for name in names)
    async with live, heavy, light:
        for queue in (heavy, light):
            await queue.add_bulk([("spin", number) for number in range(400)])
        await runtime.start().ready()
        answers = {await live.add_and_wait("now", number) for number in range(10)}
        assert len(answers) == 1

        async def done() -> bool:
            return (await heavy.get_job_counts())["completed"] >= 80

        await eventually(done, "the heavier queue has had 80 turns")
        counts = {queue: (await queue.get_job_counts())["completed"] for queue in (heavy, light)}
        # 4 : 1, but for the first jobs, before anybody knows how long they take.
        assert 2.5 <= counts[heavy] / counts[light] <= 5.5, counts
        ended = [job for queue in (heavy, light) for job in await queue.get_jobs("completed")]
        assert answers.isdisjoint({job.return_value for job in ended})
    assert runtime.stop(signal.SIGQUIT) == 0
