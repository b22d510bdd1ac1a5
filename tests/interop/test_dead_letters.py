"""A job that fails for good leaves in both queues what glide-mq for Node leaves."""

from __future__ import annotations

from glidemq.payload.dead_letter import envelope_of
from tests.interop.allowances import AFTER_COMPLETION
from tests.interop.differ import assert_same, read_keys
from tests.interop.functions_worker import FunctionsWorker
from tests.interop.loader import load_dump
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

RETRYING, FAILED = 5, 6


def test_both_queues_look_as_node_leaves_them(call: Call, queue: RawQueue) -> None:
    loaded = load_dump(queue.client, "dead_letter_queue", queue.name)
    source, dead = loaded.queues["q13"], loaded.queues["q13-dlq"]
    call("set_dead_letter_queue", source, dead_letters=[dead, False])
    worker = FunctionsWorker(call, source)
    [job] = worker.take(1795313095087)
    assert worker.fail(1795313095088, job, "always", 2, 50) == RETRYING
    [job] = worker.take(1795313095139)
    assert worker.fail(1795313095140, job, "always", 2, 50) == FAILED
    worker.leave()

    at = 1795313095141
    _, _, _, [letter], _ = call("take_dead_letters", source, token="t", lease_ms=5000, limit=10, now=at)
    entry_id, to, job_id, name, data, opts, reason, attempts, error, _ = letter
    assert to.decode() == dead
    envelope, other = envelope_of(queue=source, job_id=job_id, data=data, reason=reason, attempts=attempts)
    assert other is None
    row = [entry_id, job_id, name, envelope, False, opts, error, reason]
    call("add_dead_letters", dead, source=source, read_at=at, oldest=entry_id, letters=[row], now=at)
    call("clear_dead_letters", source, token="t", read_at=at, entries=[entry_id], now=at)

    for name_of_queue in (source, dead):
        recorded = {
            key: dump
            for key, dump in loaded.expected("after_completion").items()
            if f"{{{name_of_queue}}}" in key
        }
        assert_same(recorded, read_keys(queue.client, [name_of_queue]), allowed=AFTER_COMPLETION)


def test_letters_of_node_are_listed_and_read(call: Call, queue: RawQueue) -> None:
    loaded = load_dump(queue.client, "dead_letter_queue", queue.name, moment="after_completion")
    source, dead = loaded.queues["q13"], loaded.queues["q13-dlq"]
    _, letters, resume = call("list_dead_letters", dead, source=source, limit=10, brief=True)
    assert letters == [[b"1", b"1795313095141", b"", b"always", source.encode()]]
    assert not resume
    _, _, letter = call("read_dead_letter", dead, id="1")
    assert letter == [b"1", b"bad", source.encode(), b"1", b'{"a":1}', False, b"1795313095141"]
