"""The main cases of what jobs that call models need, in a cluster; `features.py` says how they are played."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from glidemq import IndexField, SearchUnavailableError, VectorField
from tests.cluster.model_calls import MODEL_CALLS
from tests.cluster.scene import Scene


async def suspension(scene: Scene) -> None:
    queue = scene.queue
    early = await scene.add("ask")
    assert await queue.signal(early, "early", 1) is False
    hurried, patient = await scene.add("ask", "in a hurry"), await scene.add("ask")
    await scene.work()
    await scene.ended(2)
    assert await scene.result(early) == [["early", 1]]
    assert (await scene.job(hurried)).failed_reason == "Suspend timeout exceeded"
    assert [job.id for job in await queue.get_suspended_jobs()] == [patient]
    assert await queue.signal(patient, "answer", {"x": 1}) is True
    await scene.ended(3)
    assert await scene.result(patient) == [["answer", {"x": 1}]]


async def vector_search(scene: Scene) -> None:
    pytest.importorskip("numpy", reason="the extra vectors (numpy) is not installed")
    queue = scene.queue
    await queue.create_job_index(fields=[IndexField("kind")], vector_field=VectorField("embedding", 2))
    for kind, vector in (("near", [1.0, 0.1]), ("near", [1.0, 0.4]), ("far", [0.0, 1.0])):
        await scene.add("embed", {"kind": kind, "vector": vector})
    await scene.work()
    await scene.ended(3)
    found = await queue.vector_search([1, 0], filter="@kind:{near} @state:{completed}")
    assert [match.job.data["vector"] for match in found] == [[1.0, 0.1], [1.0, 0.4]]
    await found[0].job.store_vector("embedding", [0.0, 1.0], {"kind": "far"})
    found = await queue.vector_search([0, 1], filter="@kind:{far}", k=2)
    assert {tuple(match.job.data["vector"]) for match in found} == {(1.0, 0.1), (0.0, 1.0)}
    with pytest.raises(SearchUnavailableError):
        await queue.vector_search([1, 0], fallback=False)


AI_FEATURES: list[Callable[[Scene], Awaitable[None]]] = [suspension, vector_search, *MODEL_CALLS]
