"""EnqueueCommand against the real library."""

from __future__ import annotations

import pytest
import valkey

from glidemq.commands.enqueue import EnqueueCommand, JobRow
from glidemq.commands.keys import QueueKeys
from glidemq.errors import QueueFullError, ServerError
from tests.commands.conftest import Execute


def test_rows_become_jobs(execute: Execute, raw: valkey.Valkey, keys: QueueKeys) -> None:
    rows = [
        JobRow.pack("greet", '{"who":"wörld"}'),
        JobRow.pack("later", b"1", b'{"delay":5000}', delay_ms=5000, priority=3),
        JobRow.pack("mine", "{}", custom_id="my-id", ttl_ms=60_000, attempts=4, lifo=True),
        JobRow.pack("child", "{}", parent_id="p", parent_queue=keys.queue),
    ]
    result = execute(EnqueueCommand(keys.meta, rows=rows))
    assert result.ids == ["1", "2", "my-id", "3"]
    assert result.due_ms > 0
    first, second, third, child = (raw.hgetall(keys.job(job_id)) for job_id in result.ids)
    assert (first[b"name"], first[b"data"], first[b"opts"]) == (b"greet", '{"who":"wörld"}'.encode(), b"{}")
    assert (second[b"state"], second[b"delay"], second[b"priority"]) == (b"delayed", b"5000", b"3")
    assert (third[b"lifo"], third[b"maxAttempts"], b"expireAt" in third) == (b"1", b"4", True)
    assert child[b"parentId"] == b"p"


def test_existing_custom_id_is_none(execute: Execute, keys: QueueKeys) -> None:
    row = JobRow.pack("n", "{}", custom_id="x")
    assert execute(EnqueueCommand(keys.meta, rows=[row])).ids == ["x"]
    assert execute(EnqueueCommand(keys.meta, rows=[row])).ids == [None]


def test_repeated_command_adds_once_and_another_one_again(
    execute: Execute, raw: valkey.Valkey, keys: QueueKeys
) -> None:
    command = EnqueueCommand(keys.meta, rows=[JobRow.pack("n", "{}")])
    assert command.replayable
    assert execute(command) == execute(command)
    execute(EnqueueCommand(keys.meta, rows=[JobRow.pack("n", "{}")]))
    assert raw.xlen(keys.stream) == 2


def test_full_queue_raises_with_the_numbers(execute: Execute, keys: QueueKeys) -> None:
    rows = [JobRow.pack("n", "{}")] * 3
    execute(EnqueueCommand(keys.meta, rows=rows, max_waiting=3))
    with pytest.raises(QueueFullError, match=r"3 jobs wait, and 3 more would exceed max_waiting=5"):
        execute(EnqueueCommand(keys.meta, rows=rows, max_waiting=5))


def test_refused_arguments_are_a_server_error(execute: Execute, keys: QueueKeys) -> None:
    row = JobRow.pack("n", "{}", delay_ms=False)
    with pytest.raises(ServerError, match="bad_argument"):
        execute(EnqueueCommand(keys.meta, rows=[row]))
