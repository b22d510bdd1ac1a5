"""obliterate: nothing of the queue stays, nothing else goes, and active jobs are protected."""

from __future__ import annotations

import pytest

from glidemq.commands.command import unpack
from glidemq.commands.obliterate import ObliterateCommand
from glidemq.errors import JobStateError
from tests.interop.loader import load_dump
from tests.interop.snapshot import case_names, load_case
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue


def obliterate(call: Call, queue: RawQueue, *, force: bool = False, limit: int = 2000) -> tuple[int, int]:
    """The number of keys deleted, and of calls."""
    deleted = calls = 0
    command: ObliterateCommand | None = ObliterateCommand(queue.key("meta"), force=force, limit=limit)
    while command is not None:
        arguments = {name.decode(): value for name, value in unpack(command.arguments()).items()}
        round_ = command.parse_reply(call("obliterate", queue.name, **arguments))
        deleted, calls, command = deleted + round_.deleted, calls + 1, round_.following
    return deleted, calls


ONE_QUEUE = [name for name in case_names() if len(load_case(name).queues) == 1]


@pytest.mark.parametrize("case_name", ONE_QUEUE)
def test_every_kind_of_key_goes(call: Call, queue: RawQueue, case_name: str) -> None:
    for moment in load_case(case_name).snapshots:
        load_dump(queue.client, case_name, queue.name, moment=moment)
        present = len(queue.suffixes())
        assert obliterate(call, queue, force=True)[0] == present > 0
        assert queue.suffixes() == []


def test_keys_that_node_and_this_library_leave_behind_go_too(call: Call, queue: RawQueue) -> None:
    for suffix in ("list-active", "x-py:add:abc", "job:1:usage-lock", "schedulers:lock:__tick__"):
        queue.client.set(queue.key(suffix), "1")
    for suffix in ("suspended", "x-py:workers", "x-py:cells", "x-py:active:c"):
        queue.client.zadd(queue.key(suffix), {"m": 1})
    call("register_worker", queue.name, consumer="py-a", info_json="{}", ttl_ms=30_000)
    queue.client.set(queue.key("list-active"), "0")
    obliterate(call, queue)
    assert queue.suffixes() == []


def test_queues_whose_names_look_alike_are_not_touched(call: Call, queue: RawQueue) -> None:
    # Read as a pattern, this name would match all the others.
    tricky = RawQueue(queue.client, rf"{queue.name}*[a]?\x")
    others = [
        queue,
        *(RawQueue(queue.client, f"{queue.name}{end}") for end in ("xa?x", "-2", "*[a]?x", "aaa")),
    ]
    for each in (tricky, *others):
        each.add_waiting("1")
    assert obliterate(call, tricky)[0] == 2
    assert tricky.suffixes() == []
    assert [each.suffixes() for each in others] == [["job:1", "stream"]] * len(others)


def test_active_jobs_are_protected_with_nodes_words(call: Call, queue: RawQueue) -> None:
    queue.create_group()
    queue.add_waiting("1", "2")
    queue.deliver("w", 1)
    queue.client.set(queue.key("list-active"), "2")
    before = queue.suffixes()
    words = f'Cannot obliterate queue "{queue.name}": 3 active jobs. Use force=True to override.'
    with pytest.raises(JobStateError) as refused:
        obliterate(call, queue)
    assert str(refused.value) == words
    assert queue.suffixes() == before
    assert obliterate(call, queue, force=True)[0] == len(before)
    assert queue.suffixes() == []


def test_forced_under_a_running_job_its_outcome_brings_nothing_back(call: Call, queue: RawQueue) -> None:
    worker = {"consumer": "w", "cell": "c", "ahead": 0, "claimed": [], "max_bytes": 1 << 20}
    call("register_worker", queue.name, consumer="w", info_json="{}", ttl_ms=30_000)
    queue.add_waiting("1")
    queue.add_listed("lifo", "2")
    _, _, _, started, _ = call("step", queue.name, run="a", complete=[], slots=2, now=5, **worker)
    obliterate(call, queue, force=True)
    rows = [[job[1], job[2], job[6], job[3], "null", False] for job in started]
    _, _, outcomes, _, _ = call("step", queue.name, run="b", complete=rows, slots=0, now=6, **worker)
    assert outcomes == [3, 3]
    assert queue.suffixes() == []


def test_jobs_given_back_do_not_count_as_active(call: Call, queue: RawQueue) -> None:
    queue.create_group()
    entries = queue.add_waiting("1")
    queue.deliver("w", 1)
    queue.give_back(entries[0], "1")
    assert obliterate(call, queue)[0] == 2
    assert queue.suffixes() == []


def test_a_big_queue_goes_in_bounded_rounds_and_nothing_can_start_after_the_first(
    call: Call, queue: RawQueue
) -> None:
    ids = [str(number) for number in range(3000)]
    pipeline = queue.client.pipeline(transaction=False)
    for job_id in ids:
        pipeline.hset(queue.key(f"job:{job_id}"), "id", job_id)
        pipeline.xadd(queue.key("stream"), {"jobId": job_id, "name": "n"})
    pipeline.execute()
    status, deleted, _cursor = call("obliterate", queue.name, force=False, limit=200)
    assert (status, queue.client.exists(queue.key("stream"))) == (b"more", 0)
    assert 0 < deleted < 1000
    rest, calls = obliterate(call, queue, limit=200)
    assert calls >= (3000 - deleted) / 200 / 2
    assert deleted + rest == 3001
    assert queue.suffixes() == []


def test_a_job_added_meanwhile_cannot_be_started_without_its_hash(call: Call, queue: RawQueue) -> None:
    for number in range(500):
        queue.hash(str(number), state="completed")
    _, _, cursor = call("obliterate", queue.name, force=False, limit=10)
    queue.add_waiting("late")
    status = b"more"
    while status == b"more":
        status, _, *rest = call("obliterate", queue.name, force=False, limit=10, cursor=cursor)
        cursor = rest[0] if rest else None
    assert queue.client.exists(queue.key("stream")) == 0
    assert set(queue.suffixes()) <= {"job:late"}


def test_an_empty_queue_is_done_at_once(call: Call, queue: RawQueue) -> None:
    deleted, _ = obliterate(call, queue)
    assert deleted == 0
