"""A gateway that follows a killed one knows the jobs in its actors' hands as well as the first one did."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from typing import Any

import pytest
import valkey

from glidemq import Queue
from glidemq.process import gateway as gateway_module
from glidemq.rings.cancel_board import CancelReason
from glidemq.rings.layout import HEAD, SegmentLayout, SegmentSizes
from glidemq.shared_memory import Control, ProcessState
from tests.process.conftest import MakeCell
from tests.process.hand_driven import HandDrivenActor, HandDrivenCell
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def seq_of(actor: HandDrivenActor, job_id: str) -> int:
    return actor.taken[job_id].record.seq


async def fetch_ahead(cell: HandDrivenCell, queue: Queue[Any, Any], actor: HandDrivenActor) -> None:
    """Run short jobs until the gateway has learned that it may fetch ahead of what runs."""
    await queue.add_bulk([("a", None)] * 8)
    for _ in range(8):
        for job_id in await actor.takes(1):
            actor.run(job_id)
    await cell.until(lambda: actor.side.outbound.tail == _acknowledged(cell), "their completions")


def _acknowledged(cell: HandDrivenCell) -> int:
    head = SegmentLayout(SegmentSizes()).outbound_control + HEAD
    return int.from_bytes(os.pread(cell.memory.actor_segments[0][0], 8, head), "little")


async def test_a_lease_is_kept_by_the_job_s_own_lock_and_timeout(
    make_cell: MakeCell, queue: Queue[Any, Any], raw: valkey.Valkey
) -> None:
    client: Any = raw
    declared = [{"name": queue.name, "role": "sync", "concurrency": 1, "timeout_ms": 300}]
    cell = make_cell(queues=declared, kill_grace=0)
    first = await cell.spawned_gateway()
    actor = cell.actor().ready()
    job = await queue.add("a", None, lock_duration=1, timeout=60)
    assert job is not None
    assert await actor.takes(1) == [job.id]
    actor.start(job.id)
    kill(first)
    await cell.started()
    beats: set[bytes] = set()

    def extended_thrice() -> bool:
        beats.add(client.hget(queue.keys.job(job.id), "lastActive"))
        return len(beats) > 3

    await cell.until(extended_thrice, "three heartbeats, by a lock of one second", within_s=4)
    assert actor.process.poll() is None
    assert actor.side.cancels.reason_for(seq_of(actor, job.id)) == 0
    actor.complete(job.id)
    await eventually(job.is_completed, "its completion")


async def test_the_running_job_is_timed_whatever_waits_behind_it(
    make_cell: MakeCell, queue: Queue[Any, Any]
) -> None:
    declared = [{"name": queue.name, "role": "sync", "concurrency": 1, "timeout_ms": 1500}]
    cell = make_cell(queues=declared, max_ring_wait=10)
    first = await cell.spawned_gateway()
    actor = cell.actor().ready()
    await fetch_ahead(cell, queue, actor)
    await queue.add_bulk([("a", None)] * 5)
    (running,) = await actor.takes(1)
    actor.start(running)
    await cell.until(lambda: not actor.side.activations.is_empty(), "jobs behind it")
    kill(first)
    await cell.started()
    await cell.until(
        lambda: actor.side.cancels.reason_for(seq_of(actor, running)) == CancelReason.TIMEOUT,
        "the running job is told that its time is up",
        within_s=5,
    )


async def test_what_a_leaving_actor_has_reported_is_read_before_orphans_are_looked_for(
    make_cell: MakeCell, queue: Queue[Any, Any]
) -> None:
    cell = make_cell(slots=2)
    first = await cell.spawned_gateway()
    leaving, staying = cell.actor(0).ready(), cell.actor(1).ready()
    job = await queue.add("a", None)
    assert job is not None
    assert await leaving.takes(1) == [job.id]
    kill(first)
    leaving.run(job.id)
    leaving.page.control = Control.DRAIN
    leaving.state(ProcessState.DRAINED)
    await cell.started()
    await eventually(job.is_completed, "its completion is accepted")
    assert staying.take() == []


async def test_a_gateway_that_finds_no_server_leaves_running_jobs_alone(
    make_cell: MakeCell, own_server: ValkeyServer, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the server is back at that very moment: its successor takes them over."""
    async with Queue[Any, Any](queue_name, connection=own_server.url) as queue:
        cell = make_cell(url=own_server.url)
        first = await cell.spawned_gateway()
        actor = cell.actor().ready()
        job = await queue.add("a", None)
        assert job is not None
        assert await actor.takes(1) == [job.id]
        actor.start(job.id)
        kill(first)
        own_server.signal(signal.SIGSTOP)
        monkeypatch.setattr(gateway_module, "START_DEADLINE_S", 0.1)

        class ServerIsBack(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "cannot reach the server" in record.getMessage():
                    own_server.signal(signal.SIGCONT)

        handler = ServerIsBack()
        gateway_module.log.addHandler(handler)
        try:
            second = cell.run(cell.gateway())
            assert await second == gateway_module.EXIT_UNREACHABLE
        finally:
            gateway_module.log.removeHandler(handler)
            own_server.signal(signal.SIGCONT)
        assert await job.get_state() == "active"
        await cell.started()
        actor.complete(job.id)
        await eventually(job.is_completed, "its completion is accepted")


async def test_a_new_version_of_the_app_brings_its_own_limits(
    make_cell: MakeCell, queue: Queue[Any, Any]
) -> None:
    cell = make_cell(queues=[{"name": queue.name, "role": "sync", "concurrency": 1, "timeout_ms": None}])
    await cell.started()
    actor = cell.actor().ready([{"name": queue.name, "role": "sync", "concurrency": 1, "timeout_ms": 50}])
    await queue.add("a", None)
    (running,) = await actor.takes(1)
    actor.start(running)
    await cell.until(
        lambda: actor.side.cancels.reason_for(seq_of(actor, running)) == CancelReason.TIMEOUT,
        "the new timeout counts",
        within_s=5,
    )
