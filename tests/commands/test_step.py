"""StepCommand and its rows against the real library."""

from __future__ import annotations

import time

import valkey

from glidemq.commands.command import unpack
from glidemq.commands.enqueue import EnqueueCommand, JobRow
from glidemq.commands.keys import QueueKeys
from glidemq.commands.step import ActivatedJob, Activation, CompletionRow, StepCommand
from tests.commands.conftest import Execute


def step(keys: QueueKeys, slots: int = 0, **options: object) -> StepCommand:
    defaults: dict[str, object] = {
        "consumer": "py-c", "cell": "py-c", "run": "run", "complete": [], "ahead": 0, "max_bytes": 1 << 20
    }  # fmt: skip
    return StepCommand(keys.meta, slots=slots, **{**defaults, **options})  # type: ignore[arg-type]


def completion(job: Activation, value: bytes = b"null") -> bytes:
    return CompletionRow.pack(job.id, job.token, job.processed_on, job.entry_id, value, False)


def test_job_goes_through_its_life(execute: Execute, raw: valkey.Valkey, keys: QueueKeys) -> None:
    execute(EnqueueCommand(keys.meta, rows=[JobRow.pack("greet", '"x"', '{"attempts":2}', attempts=2)]))
    before_ms = time.time_ns() // 1_000_000
    result = execute(step(keys, 1, run="r-1"))
    assert abs(result.now_ms - before_ms) < 5_000
    (job,) = result.activations
    assert (job.id, job.token, job.name, job.opts, job.flags) == (
        b"1",
        b"r-1.1",
        b"greet",
        b'{"attempts":2}',
        0,
    )
    record = ActivatedJob.unpack(job.blob)
    assert (record.id, record.name, record.data, record.opts) == (b"1", b"greet", b'"x"', b'{"attempts":2}')
    assert (record.attempts_made, record.priority, record.processed_on) == (0, 0, job.processed_on)
    assert (record.token, record.entry_id, record.extras) == (job.token, job.entry_id, {})
    assert execute(step(keys, complete=[completion(job, b'{"ok":true}')])).outcomes == [1]
    assert raw.hget(keys.job("1"), "returnvalue") == b'{"ok":true}'


def test_only_a_call_that_starts_nothing_may_be_repeated(keys: QueueKeys) -> None:
    assert step(keys).replayable
    assert not step(keys, 1).replayable
    assert not step(keys, ahead=1).replayable


def test_hints_are_read_by_name(execute: Execute, raw: valkey.Valkey, keys: QueueKeys) -> None:
    rows = [JobRow.pack("n", "{}", delay_ms=60_000), JobRow.pack("n", "{}"), JobRow.pack("n", "{}")]
    due_ms = execute(EnqueueCommand(keys.meta, rows=rows)).due_ms
    first = execute(step(keys, 1))
    assert (first.paused, first.next_due_ms, first.more, first.blocked) == (False, due_ms, True, False)
    raw.hset(keys.meta, "globalConcurrency", "1")
    limited = execute(step(keys, 1))
    assert (limited.activations, limited.more, limited.blocked) == ([], False, True)
    raw.hset(keys.meta, "paused", "1")
    assert execute(step(keys, 1)).paused


def test_completion_row_is_readable_for_whoever_takes_over() -> None:
    row = CompletionRow.pack(b"7", b"t.1", 123, b"", b"null", (60, False))
    assert unpack(row) == [b"7", b"t.1", 123, b"", b"null", [60, False]]


def test_claimed_entries_and_rings_are_passed_on(
    execute: Execute, raw: valkey.Valkey, keys: QueueKeys
) -> None:
    execute(EnqueueCommand(keys.meta, rows=[JobRow.pack("n", "{}"), JobRow.pack("n", "{}", lifo=True)]))
    for stream in (keys.stream, keys.bell):
        raw.xgroup_create(stream, "workers", id="0")
    ((_, ((entry_id, fields),)),) = raw.xreadgroup("workers", "py-c", {keys.stream: ">"})
    ((_, ((ring, _),)),) = raw.xreadgroup("workers", "py-c", {keys.bell: ">"})
    result = execute(step(keys, 2, claimed=[(entry_id, fields[b"jobId"])], rung=[ring]))
    # The claimed one last: lists start before the stream.
    assert [job.id for job in result.activations] == [b"2", b"1"]
    assert raw.xlen(keys.bell) == 0
