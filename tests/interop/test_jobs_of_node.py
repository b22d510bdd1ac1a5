"""Jobs added by glide-mq for Node, processed by the server functions, leave what a Node worker leaves.

The functions get the recorded times, so times are compared exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.allowances import AFTER_COMPLETION
from tests.interop.differ import assert_same, differences, read_keys
from tests.interop.functions_worker import FunctionsWorker
from tests.interop.loader import LoadedCase, load_dump
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

RETRYING, FAILED = 5, 6


class Scene:
    """A recording on the server and a worker for it."""

    def __init__(self, call: Call, queue: RawQueue, case_name: str) -> None:
        self.call = call
        self.queue = queue
        self.loaded: LoadedCase = load_dump(queue.client, case_name, queue.name)
        self.worker = FunctionsWorker(call, queue.name)

    def assert_left_as_by_node(self) -> None:
        self.worker.leave()
        expected = self.loaded.expected("after_completion")
        found = read_keys(self.queue.client, [self.queue.name])
        assert_same(expected, found, allowed=AFTER_COMPLETION)


@pytest.mark.parametrize(
    ("case_name", "started", "finished", "value", "retain"),
    [
        ("plain", 1795313086551, 1795313086554, '{"ok":true}', False),
        ("custom_id_ttl_timeout", 1795313087016, 1795313087017, '"str"', False),
        ("remove_on_complete", 1795313087190, 1795313087191, "1", True),
        ("delayed", 1795313087755, 1795313087756, "1", False),
        ("gzip", 1795313094909, 1795313094911, "300", False),
    ],
)
def test_one_job_completes(
    call: Call, queue: RawQueue, case_name: str, started: int, finished: int, value: str, retain: bool
) -> None:
    scene = Scene(call, queue, case_name)
    [job] = scene.worker.take(started)
    [stored] = [dump for key, dump in scene.loaded.case.first.items() if ":job:" in key]
    assert job.data == stored.fields["data"].encode()
    assert job.opts == stored.fields["opts"].encode()
    scene.worker.complete(finished, [job], value, retain)
    scene.assert_left_as_by_node()


def test_job_with_logs_and_progress_fails_once_and_completes(call: Call, queue: RawQueue) -> None:
    scene = Scene(call, queue, "retry_progress_log")
    for failing in (True, False):
        started = 1795313086732 if failing else 1795313086836
        [job] = scene.worker.take(started)
        assert job.attempts_made == (0 if failing else 1)
        call("add_log", queue.name, id="1", line="line one")
        call("update_progress", queue.name, id="1", progress="50", events=True)
        if failing:
            assert scene.worker.fail(1795313086734, job, "boom", 3, 100) == RETRYING
            assert scene.worker.take(1795313086833) == []
        else:
            scene.worker.complete(1795313086838, [job], "null")
    scene.assert_left_as_by_node()


def test_prioritized_and_delayed_prioritized_job_complete(call: Call, queue: RawQueue) -> None:
    scene = Scene(call, queue, "priority")
    [first] = scene.worker.take(1795313087931, slots=5)
    assert first.id == b"1"
    scene.worker.complete(1795313087932, [first], "1")
    assert scene.worker.take(1795313088219) == []
    [second] = scene.worker.take(1795313092944)
    scene.worker.complete(1795313092945, [second], "1")
    scene.assert_left_as_by_node()


def test_lifo_jobs_complete_newest_first(call: Call, queue: RawQueue) -> None:
    scene = Scene(call, queue, "lifo")
    jobs = scene.worker.take(1795313093119, slots=2)
    assert [job.id for job in jobs] == [b"2", b"1"]
    scene.worker.complete(1795313093121, jobs, "1")
    scene.assert_left_as_by_node()


def test_ordered_jobs_complete_one_after_the_other(call: Call, queue: RawQueue) -> None:
    scene = Scene(call, queue, "ordering_concurrency_1")
    rounds = [
        (b"1", 1795313093299, 1795313093351),
        (b"2", 1795313093351, 1795313093402),
        (b"3", 1795313093402, 1795313093453),
    ]
    for job_id, started, finished in rounds:
        jobs = scene.worker.take(started, slots=5)
        assert [job.id for job in jobs] == [job_id]
        scene.worker.complete(finished, jobs, "null")
    scene.assert_left_as_by_node()


def test_ordered_jobs_complete_two_at_a_time(call: Call, queue: RawQueue) -> None:
    scene = Scene(call, queue, "ordering_concurrency_2")
    for started, finished in [(1795313093636, 1795313093687), (1795313093687, 1795313093739)]:
        jobs = scene.worker.take(started, slots=5)
        assert len(jobs) == 2
        scene.worker.complete(finished, jobs, "null")
    scene.assert_left_as_by_node()


def test_rate_limited_and_token_bucket_groups_complete(call: Call, queue: RawQueue) -> None:
    scene = Scene(call, queue, "group_rate_limit_token_bucket")
    limited, metered = scene.worker.take(1795313093939, slots=5)
    assert (limited.id, metered.id) == (b"1", b"3")
    scene.worker.complete(1795313093940, [limited], "null")
    scene.worker.complete(1795313093941, [metered], "null")
    assert scene.worker.take(1795313094238, slots=5) == []
    last = scene.worker.take(1795313094241, slots=5)
    assert [job.id for job in last] == [b"2"]
    scene.worker.complete(1795313094242, last, "null")
    scene.assert_left_as_by_node()


def test_fallbacks_advance_with_every_retry_without_delay(call: Call, queue: RawQueue) -> None:
    scene = Scene(call, queue, "fallbacks_lock_duration")
    for number, failed_at in enumerate((1795313096254, 1795313096257)):
        [job] = scene.worker.take(failed_at)
        assert job.extras.get(b"fallbackIndex") == (str(number).encode() if number else None)
        assert scene.worker.fail(failed_at, job, "next", 3, 0) == RETRYING
    [job] = scene.worker.take(1795313096260)
    scene.worker.complete(1795313096260, [job], '"b"')
    scene.assert_left_as_by_node()


def test_job_fails_for_good_as_in_the_source_queue_of_dead_letters(call: Call, queue: RawQueue) -> None:
    loaded = load_dump(queue.client, "dead_letter_queue", queue.name)
    source = loaded.queues["q13"]
    worker = FunctionsWorker(call, source)
    [job] = worker.take(1795313095087)
    assert worker.fail(1795313095088, job, "always", 2, 50) == RETRYING
    [job] = worker.take(1795313095139)
    assert worker.fail(1795313095140, job, "always", 2, 50) == FAILED
    worker.leave()
    # The name of the dead letter queue is the worker's to write and its entry is no part of failing.
    recorded = {
        key: dump
        for key, dump in loaded.expected("after_completion").items()
        if f"{{{source}}}" in key and not key.endswith(":meta")
    }
    assert_same(recorded, read_keys(queue.client, [source]), allowed=AFTER_COMPLETION)


def test_at_other_times_nothing_but_times_differs(call: Call, queue: RawQueue) -> None:
    week_ms = 7 * 86_400_000
    scene = Scene(call, queue, "retry_progress_log")
    for number in (1, 2):
        [job] = scene.worker.take(1795313086732 + number * week_ms)
        call("add_log", queue.name, id="1", line="line one")
        call("update_progress", queue.name, id="1", progress="50", events=True)
        if number == 1:
            scene.worker.fail(1795313086734 + week_ms, job, "boom", 3, 100)
        else:
            scene.worker.complete(1795313086838 + 3 * week_ms, [job], "null")
    scene.worker.leave()
    expected, found = scene.loaded.expected("after_completion"), read_keys(queue.client, [queue.name])
    assert_same(expected, found, times="ignored", allowed=AFTER_COMPLETION)
    exact = {d.path for d in differences(expected, found, allowed=AFTER_COMPLETION)}
    assert {"completed/1", "job:1/processedOn", "job:1/lastActive", "job:1/finishedOn"} <= exact


@pytest.fixture
def node_at_work(queue: RawQueue) -> Iterator[LoadedCase]:
    """A Node worker runs job 1; job 2 was revoked while it waited."""
    yield load_dump(queue.client, "revoked", queue.name, moment="while_job_1_is_active")


def test_a_job_that_node_runs_and_a_revoked_one_are_left_alone(
    call: Call, queue: RawQueue, node_at_work: LoadedCase
) -> None:
    worker = FunctionsWorker(call, queue.name)
    assert worker.take(1795313098900, slots=5) == []
    worker.leave()
    found = read_keys(queue.client, [queue.name])
    assert_same(node_at_work.expected("while_job_1_is_active"), found, allowed=AFTER_COMPLETION)


def test_job_completes_beside_a_revoked_one(call: Call, queue: RawQueue, node_at_work: LoadedCase) -> None:
    _put_back_to_waiting(queue, "1")
    worker = FunctionsWorker(call, queue.name)
    [job] = worker.take(1795313098577, slots=5)
    worker.complete(1795313099378, [job], "null")
    worker.leave()
    found = read_keys(queue.client, [queue.name])
    assert_same(node_at_work.expected("after"), found, allowed=AFTER_COMPLETION)


def _put_back_to_waiting(queue: RawQueue, job_id: str) -> None:
    """As if Node had not started the job."""
    client: Any = queue.client
    client.hset(queue.key(f"job:{job_id}"), "state", "waiting")
    client.hdel(queue.key(f"job:{job_id}"), "processedOn", "lastActive")
    client.xgroup_destroy(queue.key("stream"), "workers")
