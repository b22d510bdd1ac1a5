"""Which job goes to which actor, and what becomes of those that cannot be placed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import valkey

from glidemq import Queue
from glidemq.pipeline.window import UNKNOWN_NS
from glidemq.process.ring_link import PATIENCE
from glidemq.rings.records import JobIdentity
from glidemq.shared_memory import Control, ProcessState
from tests.process.conftest import MakeCell
from tests.process.hand_driven import HandDrivenActor
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

LONG_NS = 10_000_000_000


@pytest.fixture
async def other(server: ValkeyServer, queue_name: str) -> AsyncIterator[Queue[Any, Any]]:
    """A second queue of the same app."""
    async with Queue[Any, Any](f"{queue_name}-other", connection=server.url) as made:
        yield made


def declared(*queues: Queue[Any, Any], **more: Any) -> list[dict[str, Any]]:
    return [{"name": queue.name, "role": "sync", "concurrency": 1} | more for queue in queues]


def queue_of(actor: HandDrivenActor, job_id: str) -> str:
    return JobIdentity.unpack(actor.taken[job_id].record.header).queue.decode()


async def fetch_ahead(queue: Queue[Any, Any], actor: HandDrivenActor) -> None:
    """Run short jobs, until the gateway knows that they are short."""
    await queue.add_bulk([("a", None)] * 8)
    for _ in range(8):
        await run_next(actor)


async def run_next(actor: HandDrivenActor, service_ns: int = 1_000_000) -> str:
    """Run the next job that is not taken back, as it is when this process gets no time for long; its queue."""
    ran = False
    while not ran:
        (job_id,) = await actor.takes(1)
        queue = queue_of(actor, job_id)
        ran = actor.run_or_skip(job_id, service_ns=service_ns)
        await asyncio.sleep(0.001)
    return queue


async def test_a_queue_that_fills_the_rings_keeps_no_other_one_out(
    make_cell: MakeCell, queue: Queue[Any, Any], other: Queue[Any, Any]
) -> None:
    cell = make_cell(slots=1, queues=declared(queue, other), promotion_interval=0.05)
    await cell.started()
    actor = cell.actor().ready()
    await fetch_ahead(queue, actor)
    await queue.add_bulk([("a", None)] * 600)
    for _ in range(100):
        await run_next(actor)
    for _ in range(3):  # each time the other queue has been found empty before
        await other.add("b", None)
        ran = 0
        while await run_next(actor) != other.name:
            ran += 1
            assert ran < 100, "the other queue waits for the busy one's end"


async def test_queues_of_long_jobs_take_turns(
    make_cell: MakeCell, queue: Queue[Any, Any], other: Queue[Any, Any]
) -> None:
    cell = make_cell(slots=1, queues=declared(queue, other), promotion_interval=0.05)
    await cell.started()
    await queue.add_bulk([("a", None)] * 12)
    actor = cell.actor().ready()
    for _ in range(3):
        await run_next(actor, LONG_NS)
    await other.add_bulk([("b", None)] * 4)
    (running,) = await actor.takes(1)
    await asyncio.sleep(0.2)  # a job that runs for longer than the promoter's interval
    actor.run(running, service_ns=LONG_NS)
    ran = [await run_next(actor, LONG_NS) for _ in range(8)]
    assert ran.count(other.name) == 4, ran


async def test_nothing_waits_behind_a_long_job_of_another_queue(
    make_cell: MakeCell, queue: Queue[Any, Any], other: Queue[Any, Any]
) -> None:
    # A job that nobody knows counts for clearly more than may be waited for, whatever the rounding.
    max_ring_wait = 0.15
    assert 1.3 * PATIENCE * max_ring_wait * 1e9 < UNKNOWN_NS
    cell = make_cell(slots=2, queues=declared(queue, other), max_ring_wait=max_ring_wait)
    await cell.started()
    first = cell.actor(0).ready()
    await fetch_ahead(queue, first)
    await other.add("b", None)
    (long_job,) = await first.takes(1)
    first.start(long_job)
    second = cell.actor(1).ready()
    await queue.add_bulk([("a", None)] * 50)
    for _ in range(50):
        assert await run_next(second) == queue.name
    assert first.take() == []


async def test_a_suspect_gets_an_actor_of_its_own_on_a_busy_cell(
    make_cell: MakeCell, queue: Queue[Any, Any], raw: valkey.Valkey
) -> None:
    client: Any = raw
    cell = make_cell(slots=1)
    await cell.started()
    actor = cell.actor().ready()
    await fetch_ahead(queue, actor)
    await queue.add_bulk([("a", None)] * 30)
    suspects = [job.id for job in await queue.add_bulk([("a", None)] * 3)]
    for suspect in suspects:
        client.hset(queue.keys.job(suspect), "x-py:crashes", 0)
    await queue.add_bulk([("a", None)] * 600)
    left = set(suspects)
    for _ in range(250):
        (job_id,) = await actor.takes(1)
        if job_id in left:
            left.discard(job_id)
            await asyncio.sleep(0.05)
            assert actor.side.activations.is_empty(), "something waits behind a suspect"
            assert list(actor.taken) == [job_id]
        actor.run_or_skip(job_id)  # what waits is taken back, so that the suspect need not wait for it
        await asyncio.sleep(0.001)
    assert not left, "suspects wait for the queue to be empty"


async def test_a_drain_does_not_wait_for_jobs_that_nobody_can_take(
    make_cell: MakeCell, queue: Queue[Any, Any]
) -> None:
    cell = make_cell(slots=1, max_ring_wait=10)
    await cell.started()
    actor = cell.actor().ready()
    await fetch_ahead(queue, actor)
    await queue.add_bulk([("a", None)] * 10)
    (running,) = await actor.takes(1)
    actor.start(running)
    await cell.until(lambda: not actor.side.activations.is_empty(), "jobs wait behind it")
    cell.tell_gateway(Control.DRAIN)
    await cell.until(lambda: cell.board.gateway.state is ProcessState.DRAINING, "the drain")
    actor.die()
    await cell.until(lambda: cell.board.gateway.state is ProcessState.DRAINED, "drained", within_s=5)
    assert (await queue.get_job_counts())["active"] == 0


async def test_a_job_whose_lease_was_lost_before_its_start_starts_nowhere(
    make_cell: MakeCell, queue: Queue[Any, Any], raw: valkey.Valkey
) -> None:
    client: Any = raw
    cell = make_cell(slots=2, queues=declared(queue, lock_duration_ms=1000), max_ring_wait=10)
    await cell.started()
    busy = cell.actor(0).ready()
    await fetch_ahead(queue, busy)
    await queue.add_bulk([("a", None)] * 2)
    running, behind = await busy.takes(2)
    busy.start(running)
    idle = cell.actor(1).ready()
    # Another host has recovered it as stalled, and runs it.
    client.hset(queue.keys.job(behind), "x-py:run", "elsewhere.1")
    seq = busy.taken[behind].record.seq
    await cell.until(lambda: busy.side.cancels.reason_for(seq), "the heartbeat finds out", within_s=5)
    assert busy.start(behind) != 0
    busy.skip(behind)
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        assert idle.take() == []
        await asyncio.sleep(0.01)
    busy.complete(running)
    assert client.hget(queue.keys.job(behind), "x-py:run") == b"elsewhere.1"


async def test_a_job_that_is_revoked_before_its_start_is_not_said_to_have_crashed(
    make_cell: MakeCell, queue: Queue[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "glidemq.cell")
    cell = make_cell(slots=1, max_ring_wait=10)
    await cell.started()
    actor = cell.actor().ready()
    await fetch_ahead(queue, actor)
    jobs = await queue.add_bulk([("a", None)] * 2)
    running, behind = await actor.takes(2)
    actor.start(running)
    await queue.revoke(behind)
    seq = actor.taken[behind].record.seq
    await cell.until(lambda: actor.side.cancels.reason_for(seq), "the gateway hears of it", within_s=5)
    assert actor.start(behind) != 0
    actor.skip(behind)
    assert await jobs[1].wait_until_finished(poll=0.01) == "failed"
    assert jobs[1].failed_reason == "revoked"
    await eventually(lambda: "was revoked: it has failed" in caplog.text, "the gateway says so")
    assert "killed its process" not in caplog.text
    actor.complete(running)


async def test_what_no_actor_serves_goes_back(make_cell: MakeCell, queue: Queue[Any, Any]) -> None:
    """The last actor that serves the queue is told to go just as its jobs arrive."""
    cell = make_cell(slots=1)
    gateway = await cell.started()
    actor = cell.actor().ready()
    link = gateway._link
    dispatch = link.dispatch

    def dispatch_too_late(pump: Any, leases: Any) -> None:
        actor.page.control = Control.DRAIN
        dispatch(pump, leases)

    link.dispatch = dispatch_too_late  # type: ignore[method-assign]
    job = await queue.add("a", None)
    assert job is not None
    await cell.until(lambda: actor.page.control is Control.DRAIN, "the job arrives")
    await eventually(lambda: _waits(queue), "it waits for others again", within_s=5)
    assert actor.take() == []


async def _waits(queue: Queue[Any, Any]) -> bool:
    counts = await queue.get_job_counts()
    return (counts["waiting"], counts["active"]) == (1, 0)
