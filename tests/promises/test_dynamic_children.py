"""A running job adds children, waits for them without a slot, and goes on with what they have returned."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from glidemq import (
    FlowProducer,
    Job,
    JobNotFoundError,
    JobStateError,
    ParentJob,
    Queue,
    QueueFullError,
    SyncJob,
    ValidationError,
    WaitingChildrenError,
    Worker,
)
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


async def ended(queue: Queue[Any, Any], job_id: str) -> Job[Any, Any] | None:
    job = await queue.get_job(job_id)
    assert job is not None
    if await job.get_state() not in ("completed", "failed"):
        return None
    await job.refresh()  # what was read first may be older than its end
    return job


async def end_of(queue: Queue[Any, Any], job: Job[Any, Any] | None) -> Job[Any, Any]:
    assert job is not None
    found = await eventually(lambda: ended(queue, job.id), what="the job's end")
    assert isinstance(found, Job)
    return found


async def square(job: Job[Any, Any]) -> int:
    if job.data < 0:
        raise RuntimeError("imaginary")
    return int(job.data) ** 2


@pytest.mark.parametrize("apart", [False, True], ids=["one queue", "two queues"])
async def test_an_async_parent_sums_up_what_its_children_returned(
    server: ValkeyServer, queue_name: str, apart: bool
) -> None:
    children = Queue[Any, Any](f"{queue_name}-c" if apart else queue_name, connection=server.url)
    runs: list[str] = []

    async def work(job: Job[Any, Any]) -> Any:
        if job.name == "square":
            return await square(job)
        runs.append(job.id)
        values = await job.get_children_values()
        if not values:
            for number in range(5):
                await children.add("square", number, parent=ParentJob(job.queue_name, job.id))
            await job.move_to_waiting_children()
        return sum(values.values())

    async with (
        children,
        Queue[Any, Any](queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, work, connection=server.url),
        Worker[Any, Any](children.name, work, connection=server.url),
    ):
        parent = await end_of(queue, await queue.add("sum", None))
        assert (parent.return_value, parent.attempts_made) == (0 + 1 + 4 + 9 + 16, 0)
        assert runs == [parent.id] * 2
        child = await children.get_job("1" if apart else "2")
        assert child is not None
        assert await child.get_parents() == [ParentJob(queue_name, parent.id)]


async def test_a_plain_function_can_wait_for_children_as_well(server: ValkeyServer, queue_name: str) -> None:
    """Its children were added from outside; it only waits."""

    def total(job: SyncJob[Any, Any]) -> Any:
        if len(job.get_children_values()) < 2:
            job.move_to_waiting_children()
        return sum(job.get_children_values().values())

    async with (
        Queue[Any, Any](queue_name, connection=server.url) as queue,
        Queue[Any, Any](f"{queue_name}-c", connection=server.url) as children,
    ):
        parent = await queue.add("sum", None, delay=0.3)
        assert parent is not None
        await children.add_bulk(
            [("square", number, {"parent": {"queue": queue_name, "id": parent.id}}) for number in (3, 4)]
        )
        async with (
            Worker[Any, Any](queue_name, total, connection=server.url),
            Worker[Any, Any](children.name, square, connection=server.url),
        ):
            assert (await end_of(queue, parent)).return_value == 25


@pytest.mark.parametrize(
    ("policy", "state", "values", "failures"),
    [
        ("fail_parent", "failed", 1, 1),
        ("ignore", "completed", 1, 1),
        ("remove", "completed", 1, 0),
        ("continue", "completed", 1, 1),
    ],
)
async def test_partial_results_and_failures_can_be_told_apart(
    server: ValkeyServer, queue_name: str, policy: Any, state: str, values: int, failures: int
) -> None:
    told: list[dict[str, Any]] = []

    async def gather(job: Job[Any, Any]) -> None:
        told.append({"values": await job.get_children_values()})

    inner = f"{queue_name}-c"
    async with (
        FlowProducer(connection=server.url) as flows,
        Queue[Any, Any](queue_name, connection=server.url) as queue,
        Worker[Any, Any](inner, square, connection=server.url),
    ):
        root = await flows.add(
            {
                "name": "gather",
                "queue_name": queue_name,
                "children": [
                    {"name": "square", "queue_name": inner, "data": 7, "opts": {"remove_on_complete": True}},
                    {"name": "square", "queue_name": inner, "data": -1, "opts": {"on_failure": policy}},
                ],
            }
        )
        good, bad = (f"glide:{{{inner}}}:{node.job.id}" for node in root.children)
        # Both children end before anybody looks after the parent.
        await eventually(
            lambda: _is_in_books(root.job, good, policy), what="the first child's value in the parent's books"
        )
        async with Worker[Any, Any](queue_name, gather, connection=server.url):
            parent = await end_of(queue, root.job)
        assert await parent.get_state() == state
        assert await parent.get_children_values() == {good: 49}
        expected = {bad: "imaginary"} if failures else {}
        await eventually(lambda: _equals(parent.get_failed_children_values, expected), what="the failure")
        assert told == ([{"values": {good: 49}}] if state == "completed" else [])


async def _is_in_books(job: Job[Any, Any], member: str, policy: str) -> bool:
    values, failures = await job.get_children_values(), await job.get_failed_children_values()
    return member in values and (bool(failures) or policy == "remove")


async def _equals(read: Callable[[], Awaitable[Any]], expected: Any) -> bool:
    return bool(await read() == expected)


async def test_several_parents_in_several_queues_wait_for_one_child(
    server: ValkeyServer, queue_name: str
) -> None:
    names = [queue_name, f"{queue_name}-b"]

    async def once_complete(job: Job[Any, Any]) -> Any:
        values = await job.get_children_values()
        if not values:
            raise WaitingChildrenError
        return values

    async with (
        Queue[Any, Any](names[0], connection=server.url) as one,
        Queue[Any, Any](names[1], connection=server.url) as other,
        Queue[Any, Any](f"{queue_name}-c", connection=server.url) as children,
    ):
        first, second = await one.add("p", 1, delay=0.2), await other.add("p", 1, delay=0.2)
        assert first is not None and second is not None
        parents = [ParentJob(names[0], first.id), ParentJob(names[1], second.id)]
        child = await children.add("square", 6, parents=parents)
        assert child is not None
        assert await child.get_parents() == parents
        async with (
            Worker[Any, Any](names[0], once_complete, connection=server.url),
            Worker[Any, Any](names[1], once_complete, connection=server.url),
            Worker[Any, Any](children.name, square, connection=server.url),
        ):
            for queue, parent in ((one, first), (other, second)):
                assert (await end_of(queue, parent)).return_value == {
                    f"glide:{{{children.name}}}:{child.id}": 36
                }


async def test_a_parent_that_is_gone_or_has_ended_gets_no_child_from_elsewhere(
    server: ValkeyServer, queue_name: str
) -> None:
    async with (
        Queue[Any, Any](queue_name, connection=server.url) as queue,
        Queue[Any, Any](f"{queue_name}-c", connection=server.url) as children,
    ):
        with pytest.raises(JobNotFoundError, match="the parent job nobody does not exist"):
            await children.add("n", 1, parent=ParentJob(queue_name, "nobody"))
        parent = await queue.add("p", 1)
        assert parent is not None
        await queue.revoke(parent.id)
        with pytest.raises(JobStateError, match="has ended"):
            await children.add("n", 1, parent=ParentJob(queue_name, parent.id))
        assert await children.count() == 0


async def test_a_taken_id_adds_nothing_and_nobody_waits_for_it(server: ValkeyServer, queue_name: str) -> None:
    async with (
        Queue[Any, Any](queue_name, connection=server.url) as queue,
        Queue[Any, Any](f"{queue_name}-c", connection=server.url) as children,
    ):
        parent = await queue.add("p", 1)
        assert parent is not None
        await children.add("n", 1, job_id="mine")
        reference = {"queue": queue_name, "id": parent.id}
        assert await children.add("n", 2, job_id="mine", parent=reference) is None
        assert await parent.get_children_values() == {}


async def test_a_child_that_is_added_twice_at_once_is_waited_for(
    server: ValkeyServer, queue_name: str
) -> None:
    runs: list[str] = []

    async def crawl(job: Job[Any, Any]) -> Any:
        runs.append(job.id)
        if len(runs) == 1:
            parent = ParentJob(job.queue_name, job.id)
            pages = [children.add("square", 6, job_id="page", parent=parent) for _ in range(3)]
            assert [page is None for page in await asyncio.gather(*pages)].count(False) == 1
            await job.move_to_waiting_children()
        return await job.get_children_values()

    async with (
        Queue[Any, Any](queue_name, connection=server.url) as queue,
        Queue[Any, Any](f"{queue_name}-c", connection=server.url) as children,
        Worker[Any, Any](queue_name, crawl, connection=server.url),
    ):
        parent = await queue.add("crawl", None)
        assert parent is not None
        await eventually(lambda: _equals(parent.get_state, "waiting-children"), what="the wait")
        async with Worker[Any, Any](children.name, square, connection=server.url):
            values = (await end_of(queue, parent)).return_value
    assert values == {f"glide:{{{children.name}}}:page": 36}
    assert len(runs) == 2


async def test_a_full_queue_takes_no_child_and_nobody_waits_for_it(
    server: ValkeyServer, queue_name: str
) -> None:
    async with (
        Queue[Any, Any](queue_name, connection=server.url) as queue,
        Queue[Any, Any](f"{queue_name}-c", connection=server.url, max_waiting=1) as children,
    ):
        parent = await queue.add("p", 1)
        assert parent is not None
        reference = ParentJob(queue_name, parent.id)
        assert await children.add("n", 1, parent=reference) is not None
        with pytest.raises(QueueFullError, match="1 jobs wait, and 1 more would exceed max_waiting=1"):
            await children.add("n", 2, parent=reference)
        assert await children.count() == 1
        key = f"glide:{{{queue_name}}}:deps:{parent.id}"
        raw: Any = server.client()
        assert raw.scard(key) == 1


async def test_waiting_for_children_is_for_running_jobs(server: ValkeyServer, queue_name: str) -> None:
    async with Queue[Any, Any](queue_name, connection=server.url) as queue:
        job = await queue.add("p", 1)
        assert job is not None
        with pytest.raises(JobStateError, match="can only be used while the job is active in a Worker"):
            await job.move_to_waiting_children()


REFUSED: dict[str, Any] = {
    "parent and parents cannot be used together": {
        "parent": {"queue": "q", "id": "1"},
        "parents": [{"queue": "q", "id": "1"}],
    },
    "Unknown field of parent 'queue_name': did you mean 'queue'?": {"parent": {"queue_name": "q", "id": "1"}},
    "parent must be a ParentJob or a mapping with queue and id, not 'p'": {"parent": "p"},
    "parents must be a list of parents, and not empty; not []": {"parents": []},
    "deduplication cannot be combined with parents in other queues, nor with several": {
        "parent": {"queue": "elsewhere", "id": "1"},
        "deduplication": {"id": "d"},
    },
}


@pytest.mark.parametrize("text", REFUSED)
async def test_malformed_parents_are_refused_before_any_call(text: str) -> None:
    async with Queue[Any, Any]("q", connection="valkey://127.0.0.1:1") as queue:
        with pytest.raises(ValidationError) as caught:
            await queue.add("n", 1, **REFUSED[text])
        assert str(caught.value) == text
