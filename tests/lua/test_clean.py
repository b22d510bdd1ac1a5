"""clean: finished jobs of a certain age go, oldest first, with all that belongs to them."""

from __future__ import annotations

import pytest

from glidemq.commands.clean import CleanCommand
from glidemq.errors import ValidationError
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute_all


def clean(
    driven: DrivenQueue, state: str = "completed", grace_ms: int = 0, limit: int = 1000
) -> tuple[list[str], int]:
    """The ids of the jobs deleted, and the number of calls."""
    command = CleanCommand(driven.key("meta"), state=state, grace_ms=grace_ms, limit=limit)
    results = execute_all(driven, command)
    return [job_id for result in results for job_id in result.ids], len(results)


def finish(driven: DrivenQueue, state: str, number: int, age_ms: int = 0) -> None:
    """Jobs 1..number, one end a millisecond, the last `age_ms` ago."""
    pipeline = driven.client.pipeline(transaction=False)
    for index in range(1, number + 1):
        pipeline.hset(driven.key(f"job:{index}"), mapping={"id": index, "name": "n", "state": state})
        pipeline.zadd(driven.key(state), {str(index): driven.now - age_ms - number + index})
    pipeline.execute()


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_finished_jobs_go_with_all_that_belongs_to_them(driven: DrivenQueue, state: str) -> None:
    finish(driven, state, 2)
    for satellite in ("log", "jstream", "signals", "deps", "parents"):
        driven.client.rpush(driven.key(f"{satellite}:1"), "x")
    assert clean(driven, state)[0] == ["1", "2"]
    assert driven.suffixes() == ["events"]
    assert driven.events() == [{"event": "cleaned", "jobId": "2"}]


def test_the_other_state_is_left_alone(driven: DrivenQueue) -> None:
    finish(driven, "failed", 2)
    before = driven.snapshot()
    assert clean(driven, "completed") == ([], 1)
    assert driven.snapshot() == before


def test_younger_jobs_stay(driven: DrivenQueue) -> None:
    finish(driven, "completed", 10, age_ms=95)
    assert clean(driven, grace_ms=100)[0] == ["1", "2", "3", "4", "5"]
    assert len(driven.members("completed")) == 5


def test_no_more_than_the_limit_oldest_first(driven: DrivenQueue) -> None:
    finish(driven, "completed", 10)
    assert clean(driven, limit=3)[0] == ["1", "2", "3"]
    assert clean(driven, limit=0) == ([], 1)
    assert len(driven.members("completed")) == 7


def test_many_jobs_take_bounded_rounds_and_one_event(driven: DrivenQueue) -> None:
    finish(driven, "completed", 1200)
    status, ids, _, cleaned = driven.call("clean", state="completed", grace_ms=0, limit=1100)
    assert (status, len(ids), cleaned) == (b"more", 500, 500)
    ids, calls = clean(driven, limit=650)
    assert (len(ids), calls) == (650, 2)
    assert driven.client.zcard(driven.key("completed")) == 50
    assert driven.events() == [{"event": "cleaned", "jobId": "650"}]


def test_jobs_that_finish_meanwhile_stay(driven: DrivenQueue) -> None:
    finish(driven, "completed", 501)
    _, _, before, cleaned = driven.call("clean", state="completed", grace_ms=0, limit=10_000)
    driven.pass_time(1)
    driven.add(job_id="late")
    driven.complete(driven.start_one())
    arguments = {"state": "completed", "grace_ms": 0, "limit": 10_000}
    reply = driven.call("clean", **arguments, before=before, cleaned=cleaned)
    assert reply[0:2] == [b"more", [b"501"]]
    assert driven.call("clean", **arguments, before=before, cleaned=501)[0] == b"done"
    assert list(driven.members("completed")) == ["late"]


def test_jobs_that_live_elsewhere_leave_the_set_and_nothing_else(driven: DrivenQueue) -> None:
    finish(driven, "failed", 2)
    driven.client.hset(driven.key("job:1"), "state", "active")
    assert clean(driven, "failed")[0] == ["2"]
    assert driven.state("1") == "active"
    assert driven.members("failed") == {}


def test_ids_whose_hash_is_gone_are_cleaned(driven: DrivenQueue) -> None:
    driven.client.zadd(driven.key("completed"), {"ghost": 1})
    assert clean(driven)[0] == ["ghost"]
    assert driven.members("completed") == {}


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"^grace must be >= 0$"):
        CleanCommand("k", state="failed", grace_ms=-1, limit=5)
    with pytest.raises(ValidationError, match="completed or failed, not 'waiting'"):
        CleanCommand("k", state="waiting", grace_ms=0, limit=5)


def test_another_state_is_refused_by_the_server_too(driven: DrivenQueue) -> None:
    assert driven.call("clean", state="meta", grace_ms=0, limit=5)[0] == b"bad_argument"
