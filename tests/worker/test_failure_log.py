"""What the log says of a failed attempt: one line, and a traceback that begins where the user's code does."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from glidemq import Batch, BatchError, Job, Queue, SyncJob, UnrecoverableError
from tests.testkit.waiting import eventually

Start = Callable[..., Any]


async def record_of(
    caplog: pytest.LogCaptureFixture,
    queue: Queue[Any, Any],
    start_worker: Start,
    processor: Callable[[Any], Any],
    **options: Any,
) -> logging.LogRecord:
    job = await queue.add("n", {"timeout": -1})
    with caplog.at_level(logging.WARNING, "glidemq.processor"):
        await start_worker(processor, **options)
        assert await job.wait_until_finished() == "failed"
    (record,) = [record for record in caplog.records if record.name == "glidemq.processor"]
    return record


def functions_in(record: logging.LogRecord) -> list[str]:
    assert record.exc_info is not None
    return [frame.name for frame in traceback.extract_tb(record.exc_info[2])]


def fall(_: Any) -> None:
    raise RuntimeError("one\ntwo")


async def fall_async(job: Job[Any, Any]) -> None:
    fall(job)


@pytest.mark.parametrize(("processor", "frames"), [(fall, ["fall"]), (fall_async, ["fall_async", "fall"])])
async def test_traceback_begins_in_the_users_code(
    caplog: pytest.LogCaptureFixture,
    queue: Queue[Any, Any],
    start_worker: Start,
    processor: Callable[[Any], Any],
    frames: list[str],
) -> None:
    record = await record_of(caplog, queue, start_worker, processor)
    assert record.getMessage() == f"job 1 of {queue.name!r} failed, attempt 1 of 1: RuntimeError: one\ntwo"
    assert functions_in(record) == frames


async def test_our_own_refusal_shows_which_of_the_users_lines_asked(
    caplog: pytest.LogCaptureFixture, queue: Queue[Any, Any], start_worker: Start
) -> None:
    def hasty(job: SyncJob[Any, Any]) -> None:
        job.suspend(timeout=job.data["timeout"])

    record = await record_of(caplog, queue, start_worker, hasty)
    assert "ValidationError: timeout must be a non-negative finite number" in record.getMessage()
    assert functions_in(record) == ["hasty"]


async def test_what_is_raised_to_end_a_job_takes_one_line_however_long_it_is(
    caplog: pytest.LogCaptureFixture, queue: Queue[Any, Any], start_worker: Start
) -> None:
    async def give_up(_: Any) -> None:
        raise UnrecoverableError("no such customer " * 10_000)

    record = await record_of(caplog, queue, start_worker, give_up)
    assert record.exc_info is None
    assert len(record.getMessage()) < 1200


async def test_batch_tells_once_of_what_it_raised(
    caplog: pytest.LogCaptureFixture, queue: Queue[Any, Any], start_worker: Start
) -> None:
    async def process(jobs: Sequence[Job[Any, Any]]) -> list[Any]:
        raise BatchError([ValueError("no") for _ in jobs])

    record = await record_of(caplog, queue, start_worker, process, batch=Batch(size=1))
    assert record.getMessage() == f"1 of 1 jobs in a batch of {queue.name!r} failed: ValueError: no"
    assert record.exc_info is None


async def test_result_after_the_job_has_left_its_run_is_not_dropped_without_a_word(
    caplog: pytest.LogCaptureFixture, queue: Queue[Any, Any], start_worker: Start
) -> None:
    async def swallow(job: Job[Any, Any]) -> str:
        with contextlib.suppress(Exception):
            await job.suspend()
        return "after all"

    job = await queue.add("n", None)
    with caplog.at_level(logging.WARNING, "glidemq.processor"):
        await start_worker(swallow)
        await eventually(lambda: "returned a result, which is dropped" in caplog.text, "the warning")
    assert await job.get_state() == "suspended"
