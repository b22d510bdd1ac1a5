"""get_jobs: which jobs a state lists, in which order, and that a range is read in bounded pages."""

from __future__ import annotations

import pytest

from glidemq.commands.command import unpack
from glidemq.commands.get_jobs import GetJobsCommand
from glidemq.errors import ServerError, ValidationError
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

SHIFT = 1 << 42


def read(call: Call, queue: RawQueue, state: str, start: int = 0, end: int = -1) -> tuple[list[str], int]:
    """The ids of the whole range, page by page as a client reads them, and the number of calls."""
    ids: list[str] = []
    calls = 0
    command: GetJobsCommand | None = GetJobsCommand(queue.key("meta"), state=state, start=start, end=end)
    while command is not None:
        arguments = {name.decode(): value for name, value in unpack(command.arguments()).items()}
        page = command.parse_reply(call("get_jobs", queue.name, **arguments))
        ids += [fields["id"].decode() for fields in page.jobs]
        calls += 1
        command = page.following
    return ids, calls


@pytest.fixture
def mixed(queue: RawQueue) -> RawQueue:
    """Waiting jobs in all four places, two active ones, and an entry whose job is gone."""
    queue.create_group()
    entries = queue.add_waiting("back", "run1", "run2", "f1", "gone", "f2")
    queue.deliver("w", 3)
    queue.give_back(entries[0], "back")
    queue.client.delete(queue.key("job:gone"))
    queue.add_listed("priority", "p2", "p1")
    queue.add_listed("lifo", "l1", "l2")
    return queue


def test_waiting_lists_every_source_in_the_order_of_starting(call: Call, mixed: RawQueue) -> None:
    assert read(call, mixed, "waiting")[0] == ["back", "p1", "p2", "l2", "l1", "f1", "f2"]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 0, ["back"]),
        (1, 3, ["p1", "p2", "l2"]),
        (4, 5, ["l1", "f1"]),
        (5, 6, ["f1"]),  # position 6 is the entry whose job is gone
        (6, 7, ["f2"]),
        (-1, -1, ["f2"]),
        (-3, -1, ["f1", "f2"]),
        (-8, -7, ["back", "p1"]),
        (2, -5, ["p2", "l2"]),
        (-100, 1, ["back", "p1"]),
        (8, 20, []),
        (5, -6, []),
        (0, -100, []),
    ],
)
def test_ranges_count_positions_over_all_sources(
    call: Call, mixed: RawQueue, start: int, end: int, expected: list[str]
) -> None:
    assert read(call, mixed, "waiting", start, end)[0] == expected


def test_waiting_without_a_consumer_group_is_the_whole_stream(call: Call, queue: RawQueue) -> None:
    queue.add_waiting("a", "b", "c")
    assert read(call, queue, "waiting")[0] == ["a", "b", "c"]
    assert read(call, queue, "waiting", -1, -1)[0] == ["c"]
    assert read(call, queue, "active")[0] == []


def test_active_lists_stream_jobs_and_the_list_jobs_of_every_cell(call: Call, mixed: RawQueue) -> None:
    for cell in ("c1", "c2"):
        mixed.hash(f"of-{cell}", state="active", lifo="1")
        mixed.client.zadd(mixed.key("x-py:cells"), {cell: 0})
        mixed.client.zadd(mixed.key(f"x-py:active:{cell}"), {f"of-{cell}": 5})
    assert read(call, mixed, "active")[0] == ["run1", "run2", "of-c1", "of-c2"]
    assert read(call, mixed, "active", 1, 2)[0] == ["run2", "of-c1"]


def test_sets_are_listed_by_score(call: Call, queue: RawQueue) -> None:
    for zset in ("completed", "failed", "suspended"):
        for number in (3, 1, 2):
            queue.add_scored(zset, f"{zset}{number}", 1000 + number)
        assert read(call, queue, zset)[0] == [f"{zset}{n}" for n in (1, 2, 3)]
        assert read(call, queue, zset, -2, -1)[0] == [f"{zset}{n}" for n in (2, 3)]


def test_delayed_is_the_whole_scheduled_set_and_prioritized_its_undated_part(
    call: Call, queue: RawQueue
) -> None:
    scores = {"d": 5000, "p1a": SHIFT, "p1d": SHIFT + 5000, "p7a": 7 * SHIFT, "p7b": 7 * SHIFT}
    for job_id, score in scores.items():
        queue.add_scored("scheduled", job_id, score)
    assert read(call, queue, "delayed")[0] == ["d", "p1a", "p1d", "p7a", "p7b"]
    assert read(call, queue, "prioritized")[0] == ["p1a", "p7a", "p7b"]
    assert read(call, queue, "prioritized", 1, 1)[0] == ["p7a"]
    assert read(call, queue, "prioritized", -1, -1)[0] == ["p7b"]


def test_prioritized_jobs_of_many_classes_are_listed_in_order(call: Call, queue: RawQueue) -> None:
    scores = {f"p{number}": number * SHIFT + (9 if number % 3 else 0) for number in range(1, 700)}
    queue.client.zadd(queue.key("scheduled"), scores)
    undated = [job_id for job_id, score in scores.items() if score % SHIFT == 0]
    for job_id in undated:
        queue.hash(job_id, state="prioritized")
    assert read(call, queue, "prioritized")[0] == undated
    assert read(call, queue, "prioritized", 150, 160)[0] == undated[150:161]


def test_a_long_range_comes_in_pages_of_a_hundred_without_gap_or_repetition(
    call: Call, queue: RawQueue
) -> None:
    ids = [f"j{number:04}" for number in range(450)]
    queue.add_waiting(*ids)
    assert read(call, queue, "waiting") == (ids, 5)
    assert read(call, queue, "waiting", 120, 340)[0] == ids[120:341]
    assert read(call, queue, "waiting", -230, -1)[0] == ids[-230:]


def test_a_page_ends_with_the_job_that_takes_it_past_a_mebibyte(call: Call, queue: RawQueue) -> None:
    queue.add_waiting("a", "b", "c", data="x" * 600_000)
    status, jobs, resume = call("get_jobs", queue.name, state="waiting", start=0, end=-1)
    assert (status, len(jobs)) == (b"ok", 2) and resume
    assert read(call, queue, "waiting")[0] == ["a", "b", "c"]


def test_skipping_far_into_the_stream_is_divided_into_calls(call: Call, queue: RawQueue) -> None:
    pipeline = queue.client.pipeline(transaction=False)
    for number in range(4500):
        pipeline.xadd(queue.key("stream"), {"jobId": f"j{number}", "name": "n"})
    pipeline.execute()
    queue.hash("j4400")
    status, jobs, resume = call("get_jobs", queue.name, state="waiting", start=4400, end=4400)
    assert (status, jobs) == (b"ok", []) and resume
    assert read(call, queue, "waiting", 4400, 4400) == (["j4400"], 5)


def test_parents_that_wait_are_listed_and_those_that_do_not_any_more_are_left_out(
    call: Call, queue: RawQueue
) -> None:
    for number, state in enumerate(["waiting-children", "failed", "waiting-children", "waiting-children"]):
        queue.add_scored("x-py:parents", f"p{number}", 9000 + number, state=state)
    queue.client.delete(queue.key("job:p3"))
    assert read(call, queue, "waiting-children")[0] == ["p0", "p2"]
    assert read(call, queue, "waiting-children", 2, 2)[0] == ["p2"]
    assert read(call, queue, "waiting-children", 1, 1)[0] == []


def test_payload_is_left_out_on_request(call: Call, queue: RawQueue) -> None:
    queue.add_waiting("a")
    _, jobs, _ = call("get_jobs", queue.name, state="waiting", start=0, end=-1, exclude_data=True)
    assert b"data" not in jobs[0] and b"opts" in jobs[0]


def test_unknown_states_and_bad_ranges_are_refused(call: Call, queue: RawQueue) -> None:
    assert call("get_jobs", queue.name, state="asleep", start=0, end=-1) == [b"unknown_state"]
    reply = call("get_jobs", queue.name, state="waiting", start=0, end=-1, resume=[1])
    assert reply[0] == b"bad_argument"
    with pytest.raises(ServerError, match="gmq_get_jobs answered 'bad_argument"):
        GetJobsCommand("k", state="waiting").parse_reply(reply)
    with pytest.raises(ValidationError, match="jobs can be listed by state waiting, active"):
        GetJobsCommand("k", state="asleep")
    with pytest.raises(ValidationError, match="end must be >= start when both are non-negative"):
        GetJobsCommand("k", state="waiting", start=3, end=2)
    with pytest.raises(ValidationError, match="start must be an integer"):
        GetJobsCommand("k", state="waiting", start=True)
