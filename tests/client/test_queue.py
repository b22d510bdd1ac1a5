"""Looking at a queue and changing it, against jobs in every state that can be made without a worker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import valkey

from glidemq import FlowProducer, Job, JobStateError, Queue, ValidationError
from tests.client.conftest import AnyQueue
from tests.testkit.server import ValkeyServer


async def take_one(queue: AnyQueue, raw: valkey.Valkey) -> str:
    """What a worker's read does: the oldest waiting job is in a consumer's hands. Returns its id."""
    raw.xgroup_create(queue.keys.stream, "workers", id="0", mkstream=True)
    reply: Any = raw.xreadgroup("workers", "py-test", {queue.keys.stream: ">"}, count=1)
    job_id: bytes = reply[0][1][0][1][b"jobId"]
    raw.hset(queue.keys.job(job_id.decode()), "state", "active")
    return job_id.decode()


# -- get_job -------------------------------------------------------------------------------------------------


async def test_stored_job_is_read_back(queue: AnyQueue) -> None:
    await queue.add("n", {"a": [1, "é"]}, attempts=3, ttl=60)
    job = await queue.get_job("1")
    assert job is not None
    assert (job.id, job.name, job.data, job.opts) == ("1", "n", {"a": [1, "é"]}, {"attempts": 3, "ttl": 60.0})
    assert job.max_attempts == 3
    assert job.timestamp is not None
    assert job.expire_at is not None
    assert (job.expire_at - job.timestamp).total_seconds() == 60
    assert (job.processed_on, job.finished_on, job.return_value, job.failed_reason) == (None,) * 4
    assert (job.progress, job.queue_name, job.parent_id, job.delay) == (0, queue.name, None, 0)


async def test_job_is_read_without_its_payload(queue: AnyQueue) -> None:
    await queue.add("n", {"a": 1})
    job = await queue.get_job("1", exclude_data=True)
    assert job is not None
    assert (job.name, job.data, job.deserialization_failed) == ("n", {}, False)


async def test_job_that_does_not_exist_is_none(queue: AnyQueue) -> None:
    assert await queue.get_job("1") is None


@pytest.mark.parametrize("job_id", ["", 5, None, "a:b"])
async def test_what_cannot_be_an_id_is_refused(unreachable: AnyQueue, job_id: Any) -> None:
    for call in (unreachable.get_job(job_id), unreachable.remove(job_id), unreachable.get_job_logs(job_id)):
        with pytest.raises(ValidationError, match="^job_id must"):  # noqa: RUF043
            await call


# -- get_jobs, counts ----------------------------------------------------------------------------------------


async def test_jobs_are_listed_and_counted_by_state(queue: AnyQueue, raw: valkey.Valkey) -> None:
    await queue.add_bulk([("w", n) for n in range(4)])
    await queue.add("d", "late", delay=60)
    await queue.add("p", "urgent", priority=1)
    active = await take_one(queue, raw)
    assert [job.data for job in await queue.get_jobs("waiting")] == [1, 2, 3]
    assert [job.id for job in await queue.get_jobs("active")] == [active]
    assert [job.data for job in await queue.get_jobs("delayed")] == ["late", "urgent"]
    assert [job.data for job in await queue.get_jobs("prioritized")] == ["urgent"]
    assert await queue.get_jobs("completed") == []
    counts = await queue.get_job_counts()
    # Node's five have Node's arithmetic: its "delayed" is all that is scheduled.
    assert {state: counts[state] for state in ("waiting", "active", "delayed", "completed", "failed")} == {
        "waiting": 3, "active": 1, "delayed": 2, "completed": 0, "failed": 0,
    }  # fmt: skip
    assert counts["prioritized"] == 1


async def test_parents_are_listed_while_they_wait_for_their_children(
    queue: AnyQueue, server: ValkeyServer
) -> None:
    child = {"name": "child", "queue_name": queue.name}
    async with FlowProducer(connection=server.url) as flows:
        roots = await flows.add_bulk(
            [{"name": "root", "queue_name": queue.name, "data": n, "children": [child]} for n in range(120)]  # type: ignore[list-item]
        )
    waiting = await queue.get_jobs("waiting-children")
    assert sorted(job.data for job in waiting) == list(range(120))
    assert {await job.get_state() for job in waiting[:3]} == {"waiting-children"}
    assert len(await queue.get_jobs("waiting-children", 0, 9)) == 10
    await queue.remove(roots[0].children[0].job.id)
    waiting = await queue.get_jobs("waiting-children", exclude_data=True)
    assert {node.job.id for node in roots} - {job.id for job in waiting} == {roots[0].job.id}


async def test_range_is_inclusive_and_may_count_from_the_end(queue: AnyQueue) -> None:
    await queue.add_bulk([("n", n) for n in range(250)])
    assert [job.data for job in await queue.get_jobs("waiting", 0, 1)] == [0, 1]
    assert [job.data for job in await queue.get_jobs("waiting", -2, -1)] == [248, 249]
    everything = await queue.get_jobs("waiting", exclude_data=True)
    assert [job.id for job in everything] == [str(n) for n in range(1, 251)]
    assert {str(job.data) for job in everything} == {"{}"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("waiting", 0.5), "start must be an integer"),
        (("waiting", 0, "1"), "end must be an integer"),
        (("waiting", 2, 1), "end must be >= start when both are non-negative"),
        (("done",), "jobs can be listed by state waiting, active, delayed"),
        (
            ("group-waiting",),
            "each group keeps its own: search_jobs\\(state='group-waiting'\\) looks through all",
        ),
    ],
)
async def test_bad_range_or_state_is_refused_before_any_call(
    unreachable: AnyQueue, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        await unreachable.get_jobs(*arguments)


# -- changing ------------------------------------------------------------------------------------------------


async def test_pause_and_resume_are_seen_by_every_client(server: ValkeyServer, queue: AnyQueue) -> None:
    async with Queue[Any, Any](queue.name, connection=server.url) as other:
        assert not await other.is_paused()
        await queue.pause()
        assert await other.is_paused()
        await other.resume()
        assert not await queue.is_paused()


async def test_removed_job_is_gone_from_everywhere(queue: AnyQueue, raw: valkey.Valkey) -> None:
    jobs = await queue.add_bulk([("n", n) for n in range(3)])
    await jobs[1].log("line")
    assert await queue.remove(jobs[1].id)
    assert await queue.get_job(jobs[1].id) is None
    assert [job.data for job in await queue.get_jobs("waiting")] == [0, 2]
    assert raw.exists(queue.keys.log(jobs[1].id)) == 0
    assert not await queue.remove(jobs[1].id)


async def test_obliterate_deletes_every_key_unless_jobs_are_active(
    queue: AnyQueue, raw: valkey.Valkey
) -> None:
    await queue.add_bulk([("n", n, {"delay": n % 2}) for n in range(50)])
    await take_one(queue, raw)
    with pytest.raises(JobStateError) as caught:
        await queue.obliterate()
    assert str(caught.value) == (
        f'Cannot obliterate queue "{queue.name}": 1 active jobs. Use force=True to override.'
    )
    assert len(await queue.get_jobs("waiting")) == 24
    await queue.obliterate(force=True)
    assert list(raw.scan_iter(f"{queue.keys.base}:*")) == []
    await queue.obliterate()


async def test_logs_are_read_by_range(queue: AnyQueue) -> None:
    job = await queue.add("n", 1)
    assert job is not None
    for n in range(1200):
        if n % 100 == 0:
            await asyncio.gather(*(job.log(f"line {n + m}") for m in range(100)))
    logs = await queue.get_job_logs(job.id)
    assert (logs.count, logs.logs) == (1200, [f"line {n}" for n in range(1200)])
    some = await queue.get_job_logs(job.id, -2, -1)
    assert (some.count, some.logs) == (1200, ["line 1198", "line 1199"])
    nothing = await queue.get_job_logs("none")
    assert (nothing.count, nothing.logs) == (0, [])


async def test_jobs_written_by_others_are_read_as_far_as_they_make_sense(
    queue: AnyQueue, raw: valkey.Valkey
) -> None:
    await queue.add("n", 1)
    raw.hset(
        queue.keys.job("1"),
        mapping={
            "data": b"{nope", "opts": b"[1]", "timestamp": b"1e+14", "attemptsMade": b"x", "name": b"\xff",
            "processedOn": b"9" * 30, "finishedOn": b"", "failedReason": b"", "progress": b"12",
            "returnvalue": b"{nope",
        },
    )  # fmt: skip
    job = await queue.get_job("1")
    assert isinstance(job, Job)
    assert not job.deserialization_failed
    assert (job.data, job.deserialization_failed) == ({}, True)
    assert (job.opts, job.wire_opts, job.attempts_made, job.name) == ({}, {}, 0, "\ufffd")
    assert (job.processed_on, job.finished_on, job.failed_reason) == (None, None, None)
    assert (job.progress, job.return_value) == (12, None)
    assert job.timestamp is not None
    assert job.timestamp.year == 5138
