"""Native code of a processor overwrites the rings: its own process is replaced, and nobody else notices."""

from __future__ import annotations

import os
from typing import Any

import valkey

from glidemq import Queue
from glidemq.rings.layout import SegmentLayout, SegmentSizes
from tests.process.conftest import MakeCell
from tests.process.hand_driven import HandDrivenActor, HandDrivenCell

LAYOUT = SegmentLayout(SegmentSizes())


def overwrite(cell: HandDrivenCell, index: int, offset: int) -> None:
    os.pwrite(cell.memory.actor_segments[index][0], b"\xff" * 16, offset)


async def learns(cell: HandDrivenCell, queue: Queue[Any, Any], actor: HandDrivenActor) -> None:
    """Run short jobs, until the gateway fetches ahead of what runs."""
    await queue.add_bulk([("a", None)] * 8)
    for _ in range(8):
        for job_id in await actor.takes(1):
            actor.run(job_id)
    await cell.until(lambda: not actor.taken, "the short jobs")


async def test_an_actor_that_damages_its_ring_is_replaced_and_charged(
    make_cell: MakeCell, queue: Queue[Any, Any], raw: valkey.Valkey
) -> None:
    cell = make_cell(slots=2, max_ring_wait=5)
    await cell.started()
    wild = cell.actor(0).ready()
    await learns(cell, queue, wild)
    jobs = {job.id: job for job in await queue.add_bulk([("a", None)] * 5)}
    reported, running, taken = await wild.takes(3)
    for job_id in (reported, running):
        assert wild.start(job_id) == 0
    # One outcome is whole; the next record is damaged while it is on its way.
    wild.complete(reported)
    damaged_at = LAYOUT.outbound_data + wild.side.outbound.tail
    assert wild.side.outbound.try_push(16, 1, b"h" * 40, b"b" * 40)
    overwrite(cell, 0, damaged_at + 30)
    cell.ring_gateway()
    await cell.until(lambda: wild.process.poll() is not None, "the process is killed", within_s=5)

    # The gateway is alive: another actor is given work and heard.
    tame = cell.actor(1).ready()
    elsewhere = await queue.add("a", None)
    assert elsewhere is not None
    ran: list[str] = []
    while elsewhere.id not in ran:
        ran += [job_id for job_id in await tame.takes(1) if tame.run_or_skip(job_id)]

    wild.die()
    await cell.until(lambda: wild.page.harvested_generation == wild.generation, "the harvest")
    while len({*ran}) < 5:
        ran += [job_id for job_id in await tame.takes(1) if tame.run_or_skip(job_id)]
    assert reported not in ran
    assert sorted(ran) == sorted({*jobs, elsewhere.id} - {reported})
    client: Any = raw
    crashes = {job_id: client.hget(queue.keys.job(job_id), "x-py:crashes") for job_id in jobs}
    assert crashes == {job_id: b"1" if job_id == running else None for job_id in jobs}
    assert taken in ran


async def test_a_gateway_takes_over_beside_a_damaged_ring(
    make_cell: MakeCell, queue: Queue[Any, Any]
) -> None:
    cell = make_cell(slots=2)
    wild, tame = cell.actor(0).ready(), cell.actor(1).ready()
    assert wild.side.outbound.try_push(16, 1, b"h" * 40, b"b" * 40)
    overwrite(cell, 0, LAYOUT.activation_data)
    os.pwrite(cell.memory.actor_segments[0][0], (4096).to_bytes(8, "little"), LAYOUT.activation_control)
    overwrite(cell, 0, LAYOUT.outbound_data + wild.side.outbound.tail - 64)
    # The ledger says that a job is in a state that there is not.
    os.pwrite(cell.memory.actor_segments[0][0], (1 << 2 | 3).to_bytes(8, "little"), LAYOUT.ledger_words)
    await cell.started()
    await cell.until(lambda: wild.process.poll() is not None, "the damaged one is killed", within_s=5)
    job = await queue.add("a", None)
    assert job is not None
    for job_id in await tame.takes(1):
        tame.run(job_id)
    await cell.until(lambda: not tame.taken, "the other one works")
