"""What others write wrongly into the queue's keys: it is put aside with a reason, and the workers live on."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.faults.conftest import APP_OF, SYNC_APP, Launch, Look, Produce
from tests.testkit.checker import QueueOnServer
from tests.testkit.effects import History
from tests.testkit.waiting import eventually

GOOD = {"id": "?", "name": "job", "data": "{}", "opts": "{}", "timestamp": "1", "attemptsMade": "0", "priority": "0",
        "state": "waiting"}  # fmt: skip
# What replaces a field of a good hash (None: the field is missing), and a part of the reason it fails for.
SPOILT: list[tuple[dict[str, Any], str]] = [
    ({"id": None}, "malformed job: field id is missing"),
    ({"id": "somebody-else"}, "malformed job: field id is that of another job"),
    ({"name": None}, "malformed job: field name is missing"),
    ({"opts": "{"}, "malformed job: field opts is not a JSON object"),
    ({"opts": "[1, 2"}, "malformed job: field opts is not a JSON object"),
    ({"opts": "17"}, "malformed job: field opts is not a JSON object"),
    ({"timestamp": "yesterday"}, "malformed job: field timestamp is not a number"),
    ({"attemptsMade": "many"}, "malformed job: field attemptsMade is not a number"),
    ({"priority": "urgent"}, "malformed job: field priority is not a number"),
]
# Odd, but nobody is hindered from running it.
ODD: list[dict[str, Any]] = [
    {"data": "this is no JSON"},
    {"data": b"\xff\xfe\x00binary"},
    {"data": None},
    {"data": "[1,2,3]"},
    {"data": '{"deeds":17}'},
    {"name": b"\xff\xfe"},
    {"name": ""},
    {
        "opts": '{"attempts":"three","timeout":"soon","backoff":7,"removeOnComplete":"perhaps","lockDuration":{}}'
    },
    {"opts": '{"attempts":1e300,"timeout":-5}'},
    {"opts": '{"timeout":1e300,"backoff":{"type":7,"delay":"x"}}'},
    {"opts": "[]"},
    {"opts": None},
    {"state": None},
    {"priority": "3"},
    {"attemptsMade": "99999999999999999999"},
    {"timestamp": "-1e300"},
    {"x-py:run": "not a token of ours"},
    {"processedOn": "garbage", "lastActive": "garbage"},
    {"expireAt": "never"},
    {"unknown field": "of a later version", "progress": "}{"},
]


def write_job(queue: QueueOnServer, job_id: str, changes: dict[str, Any], where: str = "stream") -> None:
    """A job hash with some fields changed, and an entry that makes workers look at it."""
    fields = {name: value for name, value in {**GOOD, "id": job_id, **changes}.items() if value is not None}
    queue.client.hset(queue.keys.job(job_id), mapping=fields)
    if where == "stream":
        queue.client.xadd(queue.keys.stream, {"jobId": job_id, "name": "job"})
    else:
        queue.client.rpush(queue.keys.lifo, job_id)


@pytest.mark.parametrize("where", ["stream", "lifo"])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_malformed_hashes_fail_with_a_reason_and_odd_ones_end_one_way_or_the_other(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str, where: str
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "1").ready()
    before = runtime.tree()
    producer, queue = produce(kind), look(kind)
    for number, (changes, _) in enumerate(SPOILT):
        write_job(queue, f"spoilt-{number}", changes, where)
        write_job(queue, f"good-{number}", {}, where)
    for number, changes in enumerate(ODD):
        write_job(queue, f"odd-{number}", changes, where)
    await producer.add_many(5)
    total = 2 * len(SPOILT) + len(ODD) + 5
    await eventually(lambda: queue.ended() == total, "every job ends")
    assert queue.unfinished() == {}
    for number, (_, reason) in enumerate(SPOILT):
        job = queue.job(f"spoilt-{number}")
        assert (job["state"], job["failedReason"]) == ("failed", reason)
        assert queue.state(f"good-{number}") == "completed"
    ran = {run.id for run in history.runs()}
    assert not [job for job in ran if job.startswith("spoilt")]
    assert ran >= {f"good-{number}" for number in range(len(SPOILT))} | set(producer.acked)
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"
    assert runtime.stop() == 0


async def test_entries_that_name_no_job_are_dropped(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "2").ready()
    before = runtime.tree()
    producer, queue = produce("sync"), look("sync")
    client, keys = queue.client, queue.keys
    client.set(keys.job("a-string"), "not a hash")
    client.hset(keys.job("a-stub"), "progress", "50")
    entries: list[dict[bytes | str, bytes | str]] = [
        {"name": "without an id"}, {"jobId": ""}, {"jobId": "no such job"}, {"jobId": b"\xff\xfe\x00"},
        {"jobId": "x" * 100_000}, {"jobId": "a-string"}, {"jobId": "a-stub"}, {"": ""}, {"jobid": "1", "JobId": "1"},
        {f"field {number}": "value" for number in range(2000)}, {"jobId": "meta"}, {"jobId": "../meta"},
    ]  # fmt: skip
    order = random.Random(5)
    for entry in entries:
        client.xadd(keys.stream, entry)
        if order.random() < 0.5:
            await producer.add()
    client.rpush(keys.lifo, "no such job", "", b"\xff", "a-string")
    client.lpush(keys.priority, "no such job", "a-string")
    client.zadd(keys.scheduled, {"no such job": 1, "a-string": 2, "": 3, "far away": float("inf")})
    await producer.add_many(20)
    await eventually(lambda: queue.ended() == len(producer.acked), "all good jobs complete")
    await eventually(lambda: set(queue.unfinished()) <= {"scheduled"}, "nothing else is left")
    assert queue.terminal() == set(producer.acked)
    assert {run.id for run in history.runs()} == set(producer.acked)
    assert client.get(keys.job("a-string")) == b"not a hash", "what is not ours stays"
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"
    assert not runtime.lines("Traceback")
    assert runtime.stop() == 0


@pytest.mark.parametrize("damage", ["deleted", "not a stream", "without its group"])
async def test_damaged_queue_does_not_stop_its_neighbours_and_recovers_when_repaired(
    launch: Launch, produce: Produce, look: Look, damage: str
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "2").ready()
    before = runtime.tree()
    healthy, neighbour = produce("sync"), look("sync")
    producer, queue = produce("brisk"), look("brisk")
    await producer.add_many(5)
    await healthy.add_many(5)
    await eventually(lambda: queue.ended() + neighbour.ended() == 10, "both queues work")
    client, stream = queue.client, queue.keys.stream
    if damage == "without its group":
        client.xgroup_destroy(stream, "workers")
    else:
        client.delete(stream)
    if damage == "not a stream":
        client.set(stream, "a string")
    await healthy.add_many(50)
    await eventually(lambda: neighbour.ended() == 55, "the neighbour works on")
    if damage == "not a stream":
        client.delete(stream)
    await producer.add_many(10)
    await eventually(lambda: queue.ended() == 15, "the damaged queue works again")
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"
    assert runtime.stop() == 0


async def test_job_hash_that_vanishes_or_changes_type_while_it_runs_is_let_go(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "3").ready()
    before = runtime.tree()
    producer, queue = produce("sync"), look("sync")
    deleted, overwritten, untouched = await producer.add_many(3, ["wait", "end"])
    await eventually(lambda: len(history.running()) == 3, "all three run")
    queue.client.delete(queue.keys.job(deleted))
    queue.client.set(queue.keys.job(overwritten), "not a hash")
    history.open_gate("end")
    await producer.add_many(10)
    await eventually(lambda: queue.ended() == 11, "the others complete")
    await eventually(lambda: queue.unfinished() == {}, "nothing is left in anybody's hands")
    assert queue.state(untouched) == "completed"
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"
    assert not runtime.lines("Traceback")
    assert runtime.stop() == 0


async def test_job_that_fits_no_ring_fails_with_a_reason_and_blocks_nobody(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    """Others may write what our own producer refuses: data of many MiB, ids without a limit."""
    runtime = await launch(SYNC_APP, "--procs", "1").ready()
    before = runtime.tree()
    producer, queue = produce("sync"), look("sync")
    write_job(queue, "heavy", {"data": '{"padding":"' + "x" * (3 << 20) + '"}'})
    write_job(queue, "h" * 5000, {})
    write_job(queue, "long-name", {"name": "n" * 200_000})
    write_job(queue, "heavy-options", {"opts": '{"note":"' + "x" * (3 << 20) + '"}'})
    await producer.add_many(10)
    await eventually(lambda: queue.ended() == 14, "every job ends")
    assert queue.unfinished() == {}
    for job_id in ("heavy", "h" * 5000, "heavy-options"):
        job = queue.job(job_id)
        assert job["state"] == "failed", job_id[:20]
        assert "too large" in job["failedReason"]
        assert int(job["attemptsMade"]) == 1
    assert queue.state("long-name") == "completed"
    assert {run.id for run in history.runs()} == {*producer.acked, "long-name"}
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"
    assert runtime.stop() == 0
