"""A job by itself: its methods, awaited and blocking, and how cheaply it is made from an activation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
import valkey

from glidemq import (
    JobAbortedError,
    JobNotFoundError,
    PayloadValidationError,
    SerializationError,
    ValidationError,
)
from glidemq.commands.command import Command
from glidemq.commands.keys import QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection
from glidemq.job import AbortSignal, Job, SyncJob
from glidemq.payload import Payload
from tests.client.conftest import AnyQueue, hash_of
from tests.testkit.server import ValkeyServer

R = TypeVar("R")


@dataclass
class Image:
    path: str


def activation(data: bytes = b'{"path":"a.png"}', **further: bytes) -> list[Any]:
    fields = {name.encode(): value for name, value in further.items()}
    head = [b"7", b"resize", data, b'{"attempts":3}', b"1795312102320", b"1", b"5"]
    return [*head, 1795312102999, b"run.1", b"1-1", fields]


def activated(fields: list[Any] | None = None, **options: Any) -> Job[Any, Any]:
    return Job.from_activation(fields or activation(), queue_key="glide:{q}:meta", connection=None, **options)


# -- made from an activation ---------------------------------------------------------------------------------


def test_activation_becomes_a_job() -> None:
    job = activated(activation(progress=b"50", expireAt=b"1795312162320", failedReason=b"once"))
    assert (job.id, job.name, job.data, job.priority, job.attempts_made) == (
        "7",
        "resize",
        {"path": "a.png"},
        5,
        1,
    )
    assert (job.token, job.entry_id, job.queue_name) == (b"run.1", b"1-1", "q")
    assert job.timestamp == datetime(2026, 11, 22, 1, 48, 22, 320_000, UTC)
    assert job.processed_on == datetime(2026, 11, 22, 1, 48, 22, 999_000, UTC)
    assert (job.opts, job.max_attempts, job.progress, job.failed_reason) == ({"attempts": 3}, 3, 50, "once")
    assert job.expire_at is not None
    assert not job.abort_signal.aborted
    assert not job.discarded
    job.discard()
    assert job.discarded


def test_data_is_validated_when_the_job_is_made() -> None:
    payload = Payload(data_type=Image)
    assert activated(payload=payload).data == Image("a.png")
    for bad in (b"{}", b"{nope"):
        with pytest.raises(PayloadValidationError):
            activated(activation(bad), payload=payload)


def test_unreadable_data_is_an_empty_object_with_a_flag_and_a_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = activated(activation(b"gz:AAAA"))
    assert (job.data, job.deserialization_failed) == ({}, True)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "job 7 of queue 'q': its data cannot be deserialized (damaged compressed data" in caplog.text


# -- abort signal --------------------------------------------------------------------------------------------


class Flag:
    def __init__(self) -> None:
        self.number = 0

    def reason(self) -> int:
        return self.number


class WakingFlag(Flag):
    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    async def wait(self) -> None:
        await self.event.wait()


async def test_abort_signal_follows_its_flag() -> None:
    flag = Flag()
    signal = activated(abort_signal=AbortSignal(flag)).abort_signal
    signal.raise_if_aborted()
    assert (signal.aborted, signal.reason) == (False, None)
    flag.number = 3
    assert (signal.aborted, signal.reason) == (True, "it overran its timeout")
    with pytest.raises(JobAbortedError, match="the job should stop: it overran its timeout"):
        signal.raise_if_aborted()
    await asyncio.wait_for(signal.wait(), 5)


@pytest.mark.parametrize("kind", [Flag, WakingFlag])
async def test_waiting_for_the_signal_ends_when_it_is_set(kind: type[Flag]) -> None:
    flag = kind()
    waiting = asyncio.create_task(AbortSignal(flag).wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    flag.number = 2
    if isinstance(flag, WakingFlag):
        flag.event.set()
    await asyncio.wait_for(waiting, 5)


# -- awaited -------------------------------------------------------------------------------------------------


async def test_log_progress_and_data_reach_the_server(queue: AnyQueue, raw: valkey.Valkey) -> None:
    job = await queue.add("n", {"a": 1})
    assert job is not None
    assert [await job.log("one"), await job.log("zwei é")] == [1, 2]
    assert raw.lrange(queue.keys.log(job.id), 0, -1) == [b"one", "zwei é".encode()]
    await job.update_progress({"done": 5})
    assert job.progress == {"done": 5}
    await job.update_data({"a": 2})
    assert job.data == {"a": 2}
    stored = hash_of(raw, queue, job.id)
    assert (stored["progress"], stored["data"]) == ('{"done":5}', '{"a":2}')
    again = await queue.get_job(job.id)
    assert again is not None
    assert (again.progress, again.data) == ({"done": 5}, {"a": 2})


async def test_state_is_asked_for_and_fields_are_refreshed(queue: AnyQueue, raw: valkey.Valkey) -> None:
    job = await queue.add("n", 1)
    assert job is not None
    assert await job.get_state() == "waiting"
    assert await job.is_waiting()
    finished = {"state": "completed", "returnvalue": "[1]", "finishedOn": "1795312102320", "revoked": "1"}
    raw.hset(queue.keys.job(job.id), mapping=finished)
    questions = [
        job.is_completed,
        job.is_revoked,
        job.is_failed,
        job.is_active,
        job.is_delayed,
        job.is_waiting,
    ]
    assert [await ask() for ask in questions] == [True, True, False, False, False, False]
    seen: list[Any] = [job.return_value]
    await job.refresh()
    assert [*seen, job.return_value] == [None, [1]]
    assert job.finished_on == datetime(2026, 11, 22, 1, 48, 22, 320_000, UTC)


async def test_job_that_was_removed_is_unknown_and_cannot_be_changed(queue: AnyQueue) -> None:
    job = await queue.add("n", 1)
    assert job is not None
    assert await job.remove()
    assert not await job.remove()
    assert await job.get_state() == "unknown"
    for call in (job.log("x"), job.update_progress(1), job.update_data(1), job.refresh()):
        with pytest.raises(JobNotFoundError, match=f"job {job.id} does not exist in queue '{queue.name}'"):
            await call


async def test_bad_input_is_refused_before_any_call(unreachable: AnyQueue) -> None:
    connection: Any = unreachable._connection
    job = Job[Any, Any].from_activation(activation(), queue_key="glide:{q}:meta", connection=connection)
    large = "x" * 1_048_577
    with pytest.raises(
        ValidationError, match=r"^Log message exceeds maximum size \(1048577 bytes > 1048576\)$"
    ):
        await job.log(large)
    with pytest.raises(
        ValidationError, match=r"^Progress data exceeds maximum size \(1048579 bytes > 1048576\)$"
    ):
        await job.update_progress(large)
    with pytest.raises(
        ValidationError, match=r"^Job data exceeds maximum size \(1048579 bytes > 1048576 bytes\)"
    ):
        await job.update_data(large)
    with pytest.raises(ValidationError, match="a log line must be text, not int"):
        await job.log(5)  # type: ignore[arg-type]
    with pytest.raises(SerializationError, match="^progress cannot be serialized to JSON: it is nan"):  # noqa: RUF043
        await job.update_progress(float("nan"))


# -- blocking ------------------------------------------------------------------------------------------------


class BlockingServer:
    """Executes commands for a thread without an event loop, as an actor process's ring does."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._connection = CommandConnection(ConnectionOptions.from_url(url))

    def __call__(self, command: Command[R], /) -> R:
        return asyncio.run_coroutine_threadsafe(self._connection.execute(command), self._loop).result(30)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._connection.close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def blocking(server: ValkeyServer) -> Iterator[BlockingServer]:
    executor = BlockingServer(server.url)
    yield executor
    executor.close()


def test_blocking_job_does_the_same_without_await(
    blocking: BlockingServer, raw: valkey.Valkey, queue_name: str
) -> None:
    keys = QueueKeys("glide", queue_name)
    raw.hset(keys.job("7"), mapping={"id": "7", "name": "n", "state": "active", "data": "1", "opts": "{}"})
    job = SyncJob[Any, Any].from_activation(activation(), queue_key=keys.meta, connection=blocking)
    assert job.log("line") == 1
    job.update_progress(5)
    job.update_data({"path": "b"})
    assert (job.get_state(), job.is_active(), job.is_waiting()) == ("active", True, False)
    job.refresh()
    assert (job.progress, job.data) == (5, {"path": "b"})
    assert job.remove()
    assert job.get_state() == "unknown"
    with pytest.raises(JobNotFoundError):
        job.log("line")


def test_both_kinds_of_job_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(Job) == public(SyncJob)
