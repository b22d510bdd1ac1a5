"""Ids of one's own: what is refused, what happens to a duplicate, and that no id can harm the queue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from glidemq import Deduplication, FlowJob, FlowProducer, Job, Producer, Queue, ValidationError, Worker
from tests.testkit.server import ValkeyServer

AnyQueue = Queue[Any, Any]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        yield queue


async def test_duplicate_is_skipped_by_every_producer_in_its_own_way(
    server: ValkeyServer, queue: AnyQueue
) -> None:
    first = await queue.add("n", "first", job_id="email-42")
    assert first is not None
    assert first.id == "email-42"
    assert await queue.add("n", "second", job_id="email-42") is None
    bulk = await queue.add_bulk([("n", 1, {"job_id": "a"}), ("n", 2, {"job_id": "email-42"}), ("n", 3)])
    assert [job.id for job in bulk] == ["a", "1"]
    async with Producer[Any](queue.name, connection=server.url) as producer:
        assert await producer.add("n", "third", job_id="email-42") is None
        assert await producer.add_bulk([("n", 1, {"job_id": "a"}), ("n", 2)]) == [None, "2"]
    stored = await queue.get_job("email-42")
    assert stored is not None
    assert stored.data == "first"


async def test_flow_with_a_duplicate_is_refused_whole(server: ValkeyServer, queue: AnyQueue) -> None:
    await queue.add("n", 1, job_id="taken")
    flow: FlowJob = {
        "name": "parent",
        "queue_name": queue.name,
        "opts": {"job_id": "parent"},
        "children": [{"name": "child", "queue_name": queue.name, "opts": {"job_id": "taken"}}],
    }
    async with FlowProducer(connection=server.url) as flows:
        with pytest.raises(ValidationError, match=r"^Duplicate job ID in flow"):
            await flows.add(flow)
    assert await queue.get_job("parent") is None


async def test_finished_job_still_holds_its_id_and_a_removed_one_does_not(
    server: ValkeyServer, queue: AnyQueue
) -> None:
    async def process(job: Job[Any, Any]) -> Any:
        return job.data

    async with Worker[Any, Any](queue.name, process, connection=server.url):
        job = await queue.add("n", 1, job_id="x")
        assert job is not None
        assert await job.wait_until_finished(poll=0.01) == "completed"
        assert await queue.add("n", 2, job_id="x") is None
        await job.remove()
        assert await queue.add("n", 3, job_id="x") is not None


@pytest.mark.parametrize(
    "job_id", ["007", "0", "00", "-5", "1e3", "9223372036854775808", "\uff11\uff12", " 5", "a b/ü"]
)
async def test_id_that_no_counter_yields_is_kept_verbatim_and_moves_nothing(
    queue: AnyQueue, job_id: str
) -> None:
    job = await queue.add("n", {}, job_id=job_id)
    assert job is not None
    assert job.id == job_id
    automatic = await queue.add("n", {})
    assert automatic is not None
    assert automatic.id == "1"
    assert await queue.get_job(job_id) is not None


@pytest.mark.parametrize(
    ("job_id", "follower"), [("1", "2"), ("41", "42"), ("9999999999999998", "9999999999999999")]
)
async def test_automatic_ids_step_over_a_number_of_ones_own(
    queue: AnyQueue, job_id: str, follower: str
) -> None:
    await queue.add("n", {}, job_id=job_id)
    jobs = await queue.add_bulk([("n", {}), ("n", {}, {"job_id": "7"}), ("n", {})])
    numbers = [job.id for job in jobs]
    assert numbers[0] == follower
    assert len(set(numbers)) == 3


@pytest.mark.parametrize("job_id", ["", "x" * 257, "a:b", "a{b", "a}b", "a\nb", "a\x7fb", 5])
async def test_bad_id_is_refused_before_anything_is_sent(job_id: Any) -> None:
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as unreachable:
        with pytest.raises(ValidationError, match=r"^job_id must"):
            await unreachable.add("n", {}, job_id=job_id)


async def test_deduplication_decides_before_the_id_does(queue: AnyQueue) -> None:
    option = Deduplication("d")
    assert await queue.add("n", 1, job_id="x", deduplication=option) is not None
    assert await queue.add("n", 2, job_id="y", deduplication=option) is None
    assert await queue.get_job("y") is None
    assert await queue.add("n", 3, job_id="x", deduplication=Deduplication("e")) is None
    # The refused add left no entry: the next one with its deduplication id is accepted.
    assert await queue.add("n", 4, job_id="z", deduplication=Deduplication("e")) is not None
