"""Serializers of one's own: the documents' MessagePack example, from producer to worker and back, and mismatches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import valkey

from glidemq import (
    JSON_SERIALIZER,
    CompletedEvent,
    Job,
    Producer,
    ProgressEvent,
    Queue,
    QueueEvents,
    SerializationError,
    Serializer,
    Worker,
)
from glidemq.examples.msgpack_serializer import MSGPACK_SERIALIZER
from glidemq.payload import Payload
from tests.promises.serializer_app import measure, measure_async
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
DATA = {"blob": b"\x00\xff\x10", "at": AT}
ANSWER = {"length": 3, "later": AT + timedelta(days=1), 1: b"\x10\xff\x00"}


@pytest.mark.parametrize(
    "value", [DATA, None, [1, 2.5, "é", b"x"], {1: {2: 3}}, "50", 0, True, {"a": 2**60}, datetime.now(UTC)]
)
def test_the_example_gives_back_what_it_got(value: Any) -> None:
    text = MSGPACK_SERIALIZER.serialize(value)
    assert text.isascii()
    assert MSGPACK_SERIALIZER.deserialize(text) == value
    assert isinstance(MSGPACK_SERIALIZER, Serializer)


@pytest.mark.parametrize("processor", [measure, measure_async])
async def test_data_progress_and_result_go_through_the_serializer(
    server: ValkeyServer, raw: Any, queue_name: str, processor: Callable[[Any], Any]
) -> None:
    msgpack: dict[str, Any] = {"connection": server.url, "serializer": MSGPACK_SERIALIZER}
    seen: list[Any] = []
    async with (
        Queue[Any, Any](queue_name, **msgpack) as queue,
        Producer[Any](queue_name, **msgpack) as producer,
        QueueEvents(queue_name, **msgpack) as events,
        Worker[Any, Any](queue_name, processor, **msgpack),
    ):
        assert await queue.add_and_wait("n", DATA) == ANSWER
        by_producer = await producer.add("n", DATA)
        assert by_producer is not None
        job = await queue.get_job(by_producer)
        assert job is not None
        await job.wait_until_finished(poll=0.01)
        assert (job.data, job.return_value, job.progress) == (DATA, ANSWER, {"read": b"\x00"})
        async for event in events:
            if isinstance(event, ProgressEvent):
                seen.append(event.data)
            elif isinstance(event, CompletedEvent):
                seen.append(event.return_value)
            if len(seen) == 4:
                break
    assert seen == [{"read": b"\x00"}, ANSWER] * 2
    # What is stored is text, which Node's client can read without harm.
    fields: dict[bytes, bytes] = raw.hgetall(queue.keys.job(by_producer))
    for value in fields.values():
        value.decode("ascii")


async def test_progress_in_numbers_stays_readable_to_everybody(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    async with (
        Queue[Any, Any](queue_name, connection=server.url, serializer=MSGPACK_SERIALIZER) as queue,
        Queue[Any, Any](queue_name, connection=server.url) as other,
    ):
        job = await queue.add("n", 1)
        assert job is not None
        for value in (50, 12.5, -1):
            await job.update_progress(value)
            assert job.progress == value
            found = await other.get_job(job.id)
            assert found is not None
            assert found.progress == value
        # Node writes JSON, whatever the serializer.
        raw.hset(queue.keys.job(job.id), "progress", '{"step":"two"}')
        await job.refresh()
        assert job.progress == {"step": "two"}
        with pytest.raises(SerializationError, match="Serializer failed on progress"):
            await job.update_progress(object())


# -- mismatches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written_with", "read_with"),
    [(MSGPACK_SERIALIZER, JSON_SERIALIZER), (JSON_SERIALIZER, MSGPACK_SERIALIZER)],
    ids=["msgpack-as-json", "json-as-msgpack"],
)
async def test_a_mismatch_is_seen_and_loud(
    server: ValkeyServer,
    queue_name: str,
    written_with: Serializer,
    read_with: Serializer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[Any] = []

    async def process(job: Job[Any, Any]) -> str:
        seen.append((job.data, job.deserialization_failed))
        return "done"

    async with (
        Queue[Any, Any](queue_name, connection=server.url, serializer=written_with) as queue,
        Queue[Any, Any](queue_name, connection=server.url, serializer=read_with) as reader,
        Worker[Any, Any](queue_name, process, connection=server.url, serializer=read_with),
    ):
        job = await queue.add("n", {"a": [1, "b"]})
        assert job is not None
        await job.wait_until_finished(poll=0.01)
        found = await reader.get_job(job.id)
        assert found is not None
        assert (found.data, found.deserialization_failed) == ({}, True)
    assert seen == [({}, True)]
    loud = [record for record in caplog.records if record.levelname == "ERROR"]
    assert any("is another serializer in use?" in record.getMessage() for record in loud)
    assert any(f"job {job.id} of queue {queue_name!r}" in record.getMessage() for record in loud)


async def test_a_result_that_cannot_be_serialized_fails_its_job(
    server: ValkeyServer, queue_name: str
) -> None:
    async def process(job: Job[Any, Any]) -> Any:
        return object()

    async with (
        Queue[Any, Any](queue_name, connection=server.url, serializer=MSGPACK_SERIALIZER) as queue,
        Worker[Any, Any](queue_name, process, connection=server.url, serializer=MSGPACK_SERIALIZER),
    ):
        job = await queue.add("n", 1)
        assert job is not None
        assert await job.wait_until_finished(poll=0.01) == "failed"
        assert (job.failed_reason or "").startswith("Serializer failed on return value: ")
        with pytest.raises(SerializationError, match="Serializer failed on job data"):
            await queue.add("n", object())


def test_the_serializers_can_be_told_apart() -> None:
    assert JSON_SERIALIZER.deserialize(JSON_SERIALIZER.serialize({"a": 1})) == {"a": 1}
    assert Payload(JSON_SERIALIZER).dump_progress({"a": 1}) == b'{"a":1}'


# -- in actor processes --------------------------------------------------------------------------------------


@pytest.fixture
def runtime(own_server: ValkeyServer, tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(
        tmp_path / "runtime",
        "tests.promises.serializer_app:app",
        url=own_server.url,
        effects=tmp_path / "effects",
        arguments=["--procs", "1"],
    )
    yield made.start()
    made.clean_up()


async def test_actor_processes_use_the_app_s_serializer(runtime: Runtime, own_server: ValkeyServer) -> None:
    await runtime.ready()
    for name in ("sync-blobs", "async-blobs"):
        async with Queue[Any, Any](
            name, connection=own_server.url, serializer=MSGPACK_SERIALIZER, compression="zstd"
        ) as queue:
            job = await queue.add("n", DATA)
            assert job is not None
            assert await job.wait_until_finished(poll=0.05) == "completed"
            assert (job.data, job.return_value, job.progress) == (DATA, ANSWER, {"read": b"\x00"})
    async with Queue[Any, Any]("mismatched", connection=own_server.url) as queue:
        job = await queue.add("n", {"a": 1})
        assert job is not None
        assert await job.wait_until_finished(poll=0.05) == "completed"
    await runtime.logged("its data cannot be deserialized")
