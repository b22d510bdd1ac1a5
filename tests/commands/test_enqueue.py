"""EnqueueCommand against the real library."""

from __future__ import annotations

import pytest
import valkey

from glidemq.commands.enqueue import EnqueueCommand, JobRow
from glidemq.commands.keys import QueueKeys
from glidemq.errors import QueueFullError, ServerError, ValidationError
from glidemq.options.ordering import GroupOnWire
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


def test_rows_join_their_groups(execute: Execute, raw: valkey.Valkey, keys: QueueKeys) -> None:
    limited = GroupOnWire("a", 3, 5, 1000, 9000, 500)
    rows = [
        JobRow.pack("n", "{}", group=limited, cost=1500),
        JobRow.pack("n", "{}", group=GroupOnWire("b", 1, 0, 0, 0, 0)),
    ]
    execute(EnqueueCommand(keys.meta, rows=rows))
    job = raw.hgetall(keys.job("1"))
    assert (job[b"groupKey"], job[b"orderingSeq"], job[b"cost"]) == (b"a", b"1", b"1500")
    fields = ("maxConcurrency", "rateMax", "rateDuration", "tbCapacity", "tbRefillRate")
    assert raw.hmget(f"{keys.base}:group:a", fields) == [b"3", b"5", b"1000", b"9000", b"500"]
    assert raw.hmget(f"{keys.base}:group:b", fields) == [b"1", None, None, None, None]


def test_job_that_costs_more_than_its_bucket_holds_is_refused_with_the_others(
    execute: Execute, raw: valkey.Valkey, keys: QueueKeys
) -> None:
    rows = [JobRow.pack("n", "{}"), JobRow.pack("n", "{}", group=GroupOnWire("a", 1, 0, 0, 500, 1))]
    with pytest.raises(ValidationError, match=r"^Job cost exceeds token bucket capacity$"):
        execute(EnqueueCommand(keys.meta, rows=rows))
    assert raw.exists(keys.stream, keys.id) == 0


def test_refused_arguments_are_a_server_error(execute: Execute, keys: QueueKeys) -> None:
    row = JobRow.pack("n", "{}", delay_ms=False)
    with pytest.raises(ServerError, match="bad_argument"):
        execute(EnqueueCommand(keys.meta, rows=[row]))
