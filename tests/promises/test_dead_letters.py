"""Jobs that fail for good come to the dead letter queue, in whatever way they failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from glidemq import DeadLetterQueue, Job, SyncJob, ValidationError, Worker
from glidemq.examples.msgpack_serializer import MSGPACK_SERIALIZER
from glidemq.payload.dead_letter import envelope_of
from tests.promises.dead_letters import AnyQueue, letters, process, worker
from tests.testkit.server import ValkeyServer


async def test_exhausted_job_becomes_an_ordinary_job_of_the_dead_letter_queue(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue
) -> None:
    async with worker(server, failing, {"name": dead.name}):
        job = await failing.add("order", {"raise": "no stock"}, attempts=2)
        assert job is not None
        [letter] = await letters(failing, 1)
    expected = {
        "originalQueue": failing.name,
        "originalJobId": job.id,
        "data": {"raise": "no stock"},
        "failedReason": "no stock",
        "attemptsMade": 1,  # before the run that failed, as Node counts
    }
    assert (letter.name, letter.data, letter.queue_name) == ("order", expected, dead.name)
    assert [found.data for found in await dead.get_jobs("waiting")] == [expected]
    assert await failing.get_dead_letter_jobs(0, 49)
    await job.refresh()
    assert (await job.get_state(), job.attempts_made) == ("failed", 2)


async def test_every_end_but_revocation_leads_there(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue
) -> None:
    await failing.set_dead_letter_queue(dead.name)
    await failing.add("expires", {}, ttl=0.001, delay=0.01)
    async with worker(server, failing, None, promotion_interval=0.05):
        await failing.add("gives up", {"give up": "hopeless"}, attempts=5)
        await failing.add("overruns", {"wait": True}, timeout=0.05)
        revoked = await failing.add("revoked", {}, delay=60)
        assert revoked is not None
        await failing.revoke(revoked.id)
        removed = await failing.add("removed at once", {"raise": "x"}, remove_on_fail=True)
        assert removed is not None
        found = await letters(failing, 4)
        assert await failing.get_job(removed.id) is None
    assert {letter.name: letter.data["failedReason"] for letter in found} == {
        "expires": "expired",
        "gives up": "hopeless",
        "overruns": "Job timeout exceeded",
        "removed at once": "x",
    }


async def test_a_plain_function_s_failures_lead_there(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue
) -> None:
    def fail(job: SyncJob[Any, Any]) -> None:
        raise KeyError(job.data)

    async with worker(server, failing, dead.name, processor=fail):
        await failing.add("n", "order 7")
        [letter] = await letters(failing, 1)
    assert letter.data["failedReason"] == "'order 7'"


async def test_queue_that_names_a_dead_letter_queue_names_it_for_all_workers(
    server: ValkeyServer, queue_name: str, dead: AnyQueue, raw: Any
) -> None:
    async with AnyQueue(queue_name, connection=server.url, dead_letter_queue=dead.name) as queue:
        await queue.add("n", {"raise": "x"})
        assert raw.hget(queue.keys.meta, "deadLetterQueueName") == dead.name.encode()
        async with worker(server, queue, None):
            await letters(queue, 1)


async def test_max_retries_bounds_the_attempts_of_jobs(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue
) -> None:
    async with worker(server, failing, DeadLetterQueue(dead.name, max_retries=1)):
        job = await failing.add("n", {"raise": "x"}, attempts=10)
        assert job is not None
        await letters(failing, 1)
        await job.refresh()
        assert job.attempts_made == 2


async def test_no_dead_letters_any_more_after_the_setting_is_taken_back(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue
) -> None:
    await failing.set_dead_letter_queue(dead.name)
    await failing.set_dead_letter_queue(None)
    async with worker(server, failing, None):
        job = await failing.add("n", {"raise": "x"})
        assert job is not None
        assert await job.wait_until_finished(poll=0.01) == "failed"
    assert await failing.get_dead_letter_jobs() == []
    assert await failing.get_dead_letter_job("1") is None
    assert await failing.replay_dead_letter_job("1") is None
    assert await failing.replay_dead_letter_jobs() == 0
    assert await dead.count() == 0


async def test_data_of_other_serializers_and_compressed_data_come_back_unharmed(
    server: ValkeyServer, queue_name: str, dead_name: str, raw: Any
) -> None:
    data = {"blob": b"\x00\xff", "fail": True}
    seen: list[Any] = []

    async def process(job: Job[Any, Any]) -> None:
        seen.append(job.data)
        if len(seen) == 1:
            raise ValueError("first")

    options: dict[str, Any] = {"connection": server.url, "serializer": MSGPACK_SERIALIZER}
    async with (
        AnyQueue(queue_name, compression="gzip", dead_letter_queue=dead_name, **options) as queue,
        Worker[Any, Any](queue_name, process, **options),
    ):
        await queue.add("n", data, remove_on_fail=True)
        [letter] = await letters(queue, 1)
        assert isinstance(letter.data["data"], str)
        replayed = await queue.replay_dead_letter_job(letter.id)
        assert replayed is not None
        assert await replayed.wait_until_finished(poll=0.01) == "completed"
    assert seen == [data, data]


async def test_compressed_json_is_readable_in_the_envelope(
    server: ValkeyServer, queue_name: str, dead: AnyQueue
) -> None:
    async with AnyQueue(
        queue_name, connection=server.url, compression="gzip", dead_letter_queue=dead.name
    ) as queue:
        await queue.add("n", {"raise": "x" * 500})
        async with worker(server, queue, None):
            [letter] = await letters(queue, 1)
    assert letter.data["data"] == {"raise": "x" * 500}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "Queue name must be a non-empty string"),
        ("a:b", "Queue name must not contain curly braces or colons"),
        ("q", "queue 'q' cannot be its own dead letter queue"),
        ({}, "dead_letter_queue needs a name"),
        ({"nam": "x"}, "Unknown field of dead_letter_queue 'nam': did you mean 'name'?"),
        (5, "dead_letter_queue must be a DeadLetterQueue or a mapping with its fields, not 5"),
        (DeadLetterQueue("d", -1), "dead_letter_queue.max_retries must be a non-negative integer"),
    ],
)
async def test_bad_settings_are_refused_at_once(value: Any, message: str) -> None:
    makers: list[Callable[[], Any]] = [
        lambda: AnyQueue("q", connection="valkey://127.0.0.1:1", dead_letter_queue=value),
        lambda: Worker("q", process, connection="valkey://127.0.0.1:1", dead_letter_queue=value),
    ]
    for make in makers:
        with pytest.raises(ValidationError) as caught:
            make()
        assert str(caught.value) == message
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as queue:
        with pytest.raises(ValidationError):
            await queue.set_dead_letter_queue(value)


def test_stored_envelope_is_json_that_every_reader_understands() -> None:
    for data, embedded, kept in [
        (b'{"big":12345678901234567890,"x":[]}', '{"big":12345678901234567890,"x":[]}', None),
        (b"gz:damaged", '"gz:damaged"', b"gz:damaged"),
        (b"\xff", '"�"', b"\xff"),
        (b"", '""', b""),
    ]:
        envelope, original = envelope_of(
            queue='a"b', job_id=b"1", data=data, reason=b"\xffbad", attempts=b"2"
        )
        assert original == kept
        assert f'"data":{embedded},' in envelope.decode()
        assert json.loads(envelope)["failedReason"] == "�bad"
