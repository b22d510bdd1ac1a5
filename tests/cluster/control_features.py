"""The main cases of what steers running jobs, in a cluster; `features.py` says how they are played."""

from __future__ import annotations

import pytest

from glidemq import Ordering, Queue, QueueFullError
from tests.cluster.scene import Scene
from tests.testkit.waiting import eventually


async def step_jobs(scene: Scene) -> None:
    job_id = await scene.add("take_steps", {"order": "book"}, attempts=1)
    await scene.work()
    await scene.ended(1)
    job = await scene.job(job_id)
    assert (job.return_value, job.data) == ("paid", {"order": "book", "step": "paid"})
    assert (job.attempts_made, len(scene.runs())) == (0, 2)


async def group_pause(scene: Scene) -> None:
    first = await scene.add("pause_group", 0.2, ordering=Ordering("k"), attempts=1)
    second = await scene.add("echo", ordering=Ordering("k"))
    await scene.work()
    await scene.ended(2)
    assert [run.id for run in scene.runs()] == [first, first, second]
    assert await scene.queue.rate_limit_group("k", 3600) > (await scene.job(second)).finished_on
    held = await scene.queue.add("echo", None, ordering=Ordering("k"))
    assert held is not None

    async def is_parked() -> bool:
        return await held.get_state() == "group-waiting"

    await eventually(is_parked, "the next one waits")


async def rate_limit_error(scene: Scene) -> None:
    job_id = await scene.add("hit_limit", 0.2, attempts=1)
    await scene.work()
    await scene.ended(1)
    job = await scene.job(job_id)
    assert (job.return_value, job.attempts_made, job.failed_reason) == ("let in", 0, None)
    first, again = scene.runs()
    assert again.at - first.at >= 0.2


async def forced_end(scene: Scene) -> None:
    job_id = await scene.add("be_deaf", attempts=3)
    await scene.work()
    await scene.started(1)
    assert await scene.queue.revoke(job_id, force_after=0.1) == "flagged"
    await scene.ended(1)
    assert (await scene.job(job_id)).failed_reason == "revoked"
    assert len(scene.runs()) == 1


async def back_pressure(scene: Scene) -> None:
    async with Queue(scene.queue.name, connection=scene.url, max_waiting=2) as bounded:
        await bounded.add_bulk([("echo", 1), ("echo", 2)])
        with pytest.raises(QueueFullError):
            await bounded.add("echo", 3)
        await scene.work()
        await scene.ended(2)
        assert await bounded.add("echo", 4) is not None
    await scene.ended(3)


CONTROL = [step_jobs, group_pause, rate_limit_error, forced_end, back_pressure]
