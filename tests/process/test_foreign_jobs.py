"""Jobs that others wrote, and that fit nowhere, cost their own queue nothing but themselves."""

from __future__ import annotations

from typing import Any

import valkey

from glidemq import Queue
from tests.process.conftest import MakeCell


async def test_a_job_that_no_ledger_can_hold_fails_and_ends_no_actor(
    make_cell: MakeCell, queue: Queue[Any, Any], raw: valkey.Valkey
) -> None:
    client: Any = raw
    cell = make_cell()
    await cell.started()
    long_id = "x" * 2500
    fields = {"id": long_id, "name": "a", "data": "{}", "opts": "{}", "timestamp": "1", "state": "waiting"}
    client.hset(queue.keys.job(long_id), mapping=fields | {"attemptsMade": "0", "priority": "0"})
    client.xadd(queue.keys.stream, {"jobId": long_id, "name": "a"})
    after = await queue.add("a", None)
    assert after is not None
    actor = cell.actor().ready()
    assert await actor.takes(1) == [after.id]
    actor.run(after.id)
    await cell.until(lambda: client.hget(queue.keys.job(long_id), "state") == b"failed", "the failure")
    assert b"too large to be handed to an actor" in client.hget(queue.keys.job(long_id), "failedReason")
