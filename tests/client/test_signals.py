"""Signals and suspended jobs, as a queue sees them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import valkey

from glidemq import JobStateError, SerializationError, Signal, SuspendInfo, ValidationError
from tests.client.conftest import AnyQueue

NEVER = 9999999999999
SINCE = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)
SINCE_MS = round(SINCE.timestamp() * 1000)


async def suspended(queue: AnyQueue, raw: valkey.Valkey, deadline: int = NEVER, **fields: Any) -> str:
    """A job that waits for a signal, as any runtime leaves it."""
    job = await queue.add("ask", {"x": 1})
    assert job is not None
    raw.xtrim(queue.keys.stream, maxlen=0)
    mapping = {"state": "suspended", "suspendedAt": SINCE_MS, **fields}
    raw.hset(queue.keys.job(job.id), mapping=mapping)
    raw.zadd(f"{queue.keys.base}:suspended", {job.id: deadline})
    return job.id


async def test_info_tells_how_a_job_waits(queue: AnyQueue, raw: valkey.Valkey) -> None:
    signals = (
        '[{"name":"a","data":"{\\"n\\":1}","receivedAt":1777636800250},{"name":"b","data":"","receivedAt":5}]'
    )
    job_id = await suspended(queue, raw, suspendReason="look", suspendTimeout="1500", signals=signals)
    assert await queue.get_suspend_info(job_id) == SuspendInfo(
        reason="look",
        suspended_at=SINCE,
        timeout=1.5,
        signals=(
            Signal("a", {"n": 1}, SINCE),
            Signal("b", None, datetime(1970, 1, 1, 0, 0, 0, 5_000, tzinfo=UTC)),
        ),
    )
    job = await queue.get_job(job_id)
    assert job is not None
    assert [signal.name for signal in job.signals] == ["a", "b"]


async def test_info_of_a_job_without_reason_and_timeout(queue: AnyQueue, raw: valkey.Valkey) -> None:
    job_id = await suspended(queue, raw)
    assert await queue.get_suspend_info(job_id) == SuspendInfo(None, SINCE, None, ())


async def test_there_is_no_info_about_a_job_that_does_not_wait(queue: AnyQueue, raw: valkey.Valkey) -> None:
    job_id = await suspended(queue, raw)
    assert await queue.signal(job_id, "go") is True
    assert await queue.get_suspend_info(job_id) is None
    assert await queue.get_suspend_info("nobody") is None


async def test_signal_lets_a_suspended_job_go_on(queue: AnyQueue, raw: valkey.Valkey) -> None:
    job_id = await suspended(queue, raw)
    assert await queue.signal(job_id, "approve", {"by": "a/b"}) is True
    job = await queue.get_job(job_id)
    assert job is not None
    (signal,) = job.signals
    assert (signal.name, signal.data) == ("approve", {"by": "a/b"})
    assert await job.get_state() == "waiting"
    assert await queue.signal(job_id, "again") is False


async def test_signal_that_comes_early_is_kept_but_not_shown(queue: AnyQueue) -> None:
    job = await queue.add("ask", None)
    assert job is not None
    assert await queue.signal(job.id, "early") is False
    await job.refresh()
    assert job.signals == ()
    assert await queue.signal("nobody", "hello") is False
    for _ in range(99):
        assert await queue.signal(job.id, "more") is False
    with pytest.raises(JobStateError, match="Cannot signal job 1: too many signals"):
        await queue.signal(job.id, "too much")


async def test_suspended_jobs_are_listed_by_their_deadline_and_counted(
    queue: AnyQueue, raw: valkey.Valkey
) -> None:
    ids = [
        await suspended(queue, raw, deadline) for deadline in (NEVER, 5_000_000_000_000, 4_000_000_000_000)
    ]
    assert [job.id for job in await queue.get_suspended_jobs()] == ids[::-1]
    assert [job.id for job in await queue.get_suspended_jobs(1, 1)] == [ids[1]]
    (last,) = await queue.get_suspended_jobs(-1, -1, exclude_data=True)
    assert (last.id, last.data) == (ids[0], {})
    assert (await queue.get_job_counts())["suspended"] == 3


async def test_fields_that_make_no_sense_are_left_out(queue: AnyQueue, raw: valkey.Valkey) -> None:
    kept = '{"name":"a","data":"not json","receivedAt":5}'
    job_id = await suspended(queue, raw, signals=f'[1,{{"name":"b"}},{kept},{{"data":7,"receivedAt":6}}]')
    info = await queue.get_suspend_info(job_id)
    assert info is not None
    assert [(signal.name, signal.data) for signal in info.signals] == [("a", "not json"), ("", 7)]
    for nonsense in ("{", '{"a":1}', "7"):
        raw.hset(queue.keys.job(job_id), "signals", nonsense)
        info = await queue.get_suspend_info(job_id)
        assert info is not None and info.signals == ()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("", "go"), ValidationError, "job_id must be a non-empty string"),
        (("1", ""), ValidationError, "a signal's name must be a non-empty string"),
        (("1", 5), ValidationError, "a signal's name must be a non-empty string"),
        (("1", "x" * 257), ValidationError, "a signal's name must be at most 256 characters"),
        (("1", "\ud800"), ValidationError, "a signal's name must be valid Unicode"),
        (("1", "go", {1, 2}), SerializationError, "signal data cannot be serialized"),
        (("1", "go", "x" * (1 << 20)), ValidationError, r"Signal data exceeds maximum size \(1048578 bytes"),
    ],
)
async def test_bad_signals_are_refused_before_anything_is_sent(
    unreachable: AnyQueue, arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await unreachable.signal(*arguments)
