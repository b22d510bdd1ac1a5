"""search_jobs: which jobs a search finds, and that each call is bounded whatever there is."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.command import unpack
from glidemq.commands.search_jobs import SearchJobsCommand
from glidemq.errors import ValidationError
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

SHIFT = 1 << 42


def pages(call: Call, queue: RawQueue, **wanted: Any) -> list[list[str]]:
    """The ids of each page, read as a client reads them."""
    found: list[list[str]] = []
    command: SearchJobsCommand | None = SearchJobsCommand(queue.key("meta"), **wanted)
    while command is not None:
        arguments = {name.decode(): value for name, value in unpack(command.arguments()).items()}
        page = command.parse_reply(call("search_jobs", queue.name, **arguments))
        found.append([fields["id"].decode() for fields in page.jobs])
        command = page.following
    return found


def search(call: Call, queue: RawQueue, **wanted: Any) -> list[str]:
    return [job_id for page in pages(call, queue, **wanted) for job_id in page]


@pytest.fixture
def mixed(queue: RawQueue) -> RawQueue:
    """A job or two in every state."""
    queue.create_group()
    queue.add_waiting("run", "wait")
    queue.deliver("w", 1)
    queue.add_listed("priority", "urgent")
    queue.add_scored("scheduled", "late", 5000, state="delayed")
    queue.add_scored("scheduled", "pri", 3 * SHIFT, state="prioritized")
    queue.add_scored("completed", "good", 9000, state="completed", name="other")
    queue.add_scored("failed", "bad", 9000, state="failed", name="other")
    queue.add_scored("suspended", "susp", 9000, state="suspended")
    queue.hash("parked", state="group-waiting")
    queue.hash("parent", state="waiting-children", name="other")
    return queue


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("waiting", ["urgent", "wait"]),
        ("active", ["run"]),
        ("delayed", ["late"]),
        ("prioritized", ["pri"]),
        ("completed", ["good"]),
        ("failed", ["bad"]),
        ("suspended", ["susp"]),
        ("group-waiting", ["parked"]),
        ("waiting-children", ["parent"]),
    ],
)
def test_a_state_finds_the_jobs_in_exactly_this_state(
    call: Call, mixed: RawQueue, state: str, found: list[str]
) -> None:
    assert search(call, mixed, state=state) == found


def test_without_a_state_all_jobs_are_looked_at(call: Call, mixed: RawQueue) -> None:
    assert sorted(search(call, mixed)) == sorted(
        ["run", "wait", "urgent", "late", "pri", "good", "bad", "susp", "parked", "parent"]
    )
    assert sorted(search(call, mixed, name="other")) == ["bad", "good", "parent"]
    assert search(call, mixed, name="other", state="failed") == ["bad"]
    assert search(call, mixed, name="othe") == []


def test_a_trace_of_a_job_that_is_elsewhere_by_now_is_passed_over(call: Call, queue: RawQueue) -> None:
    queue.add_scored("completed", "again", 9000, state="completed")
    queue.add_waiting("again")
    queue.client.zadd(queue.key("completed"), {"gone": 9001})
    assert search(call, queue, state="completed") == []
    assert search(call, queue, state="waiting") == ["again"]


def test_keys_beside_the_jobs_are_no_jobs(call: Call, queue: RawQueue) -> None:
    queue.hash("a")
    queue.client.set(queue.key("job:a:usage-lock"), "token")
    queue.client.hset(queue.key("job:a:sub:s"), mapping={"id": "x", "a": 1})
    queue.client.hset(queue.key("job:stub"), "state", "failed")
    queue.client.set(queue.key("job:text"), "not a hash")
    assert search(call, queue) == ["a"]


def test_a_queue_whose_name_looks_like_a_pattern_is_searched_alone(call: Call, queue: RawQueue) -> None:
    starred = RawQueue(queue.client, f"{queue.name}*")
    RawQueue(queue.client, f"{queue.name}-other").hash("not-mine")
    starred.hash("mine")
    assert search(call, starred) == ["mine"]


def test_a_name_that_few_jobs_bear_is_found_in_bounded_calls(call: Call, queue: RawQueue) -> None:
    ids = [f"j{number:04}" for number in range(3000)]
    pipeline = queue.client.pipeline(transaction=False)
    for number, job_id in enumerate(ids):
        fields = {"id": job_id, "name": "rare" if number % 1000 == 999 else "n", "state": "completed"}
        pipeline.hset(queue.key(f"job:{job_id}"), mapping=fields)
        pipeline.zadd(queue.key("completed"), {job_id: number})
    pipeline.execute()
    by_set = pages(call, queue, name="rare", state="completed")
    assert [job_id for page in by_set for job_id in page] == ["j0999", "j1999", "j2999"]
    assert len(by_set) >= 3
    by_scan = pages(call, queue, name="rare")
    assert sorted({job_id for page in by_scan for job_id in page}) == ["j0999", "j1999", "j2999"]
    assert sorted(set(search(call, queue))) == ids
    assert max(map(len, pages(call, queue))) <= 100


def test_a_page_ends_with_the_job_that_takes_it_past_a_mebibyte(call: Call, queue: RawQueue) -> None:
    ids = [f"j{number}" for number in range(5)]
    for number, job_id in enumerate(ids):
        queue.add_scored("failed", job_id, number, state="failed", data="x" * 600_000)
    assert pages(call, queue, state="failed") == [ids[0:2], ids[2:4], ids[4:]]
    # How many of them a step of a scan comes across is the server's affair: as if it had found them all.
    status, jobs, rest = call("search_jobs", queue.name, resume=["scan", "0", ids])
    assert (status, len(jobs), rest) == (b"ok", 2, [b"scan", b"0", [b"j2", b"j3", b"j4"]])
    assert sorted(search(call, queue)) == ids


def test_payload_is_left_out_on_request(call: Call, queue: RawQueue) -> None:
    queue.add_scored("failed", "a", 1, state="failed")
    _, jobs, _ = call("search_jobs", queue.name, state="failed", exclude_data=True)
    assert b"data" not in jobs[0] and b"opts" in jobs[0]


def test_unknown_states_and_nonsense_are_refused(call: Call, queue: RawQueue) -> None:
    assert call("search_jobs", queue.name, resume=[1])[0] == b"bad_argument"
    assert call("search_jobs", queue.name, resume=["scan", "0"])[0] == b"bad_argument"
    with pytest.raises(ValidationError, match="jobs can be searched by state waiting, active"):
        SearchJobsCommand("k", state="asleep")
