"""change_priority: a job that has not started moves to the place that its new priority gives it."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.change_priority import ChangePriorityCommand
from glidemq.errors import JobNotFoundError, JobStateError, ServerError, ValidationError
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute_all

SHIFT = 2**42


def change(driven: DrivenQueue, priority: int, job_id: str = "1") -> tuple[bool, int]:
    """Whether the priority was changed, and the number of calls."""
    command = ChangePriorityCommand(driven.key("meta"), job_id=job_id, priority=priority)
    results = execute_all(driven, command)
    assert not any(result.changed for result in results[:-1])
    return results[-1].changed, len(results)


def assert_refused(driven: DrivenQueue, priority: int, reason: str) -> None:
    before = driven.snapshot()
    with pytest.raises(JobStateError, match=f"^Cannot change priority: {reason}$"):
        change(driven, priority)
    assert driven.snapshot() == before


def test_waiting_job_is_prioritized_and_starts_before_the_others(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row(), driven.row())
    rings = driven.rings()
    assert change(driven, 5, "2") == (True, 1)
    assert driven.members("scheduled") == {"2": 5 * SHIFT}
    assert (driven.state("2"), driven.field("2", "priority")) == ("prioritized", "5")
    assert driven.entries() == ["1", "3"]
    assert driven.events()[-1] == {"event": "priority-changed", "jobId": "2", "priority": "5"}
    assert driven.rings() == rings + 1
    assert driven.step(3).ids == ["2", "1", "3"]


def test_job_in_the_priority_list_goes_back_to_its_new_place(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(priority=3), driven.row(priority=3))
    driven.promote_due()
    assert driven.elements("priority") == ["2", "1"]
    assert change(driven, 7) == (True, 1)
    assert driven.elements("priority") == ["2"]
    assert driven.members("scheduled") == {"1": 7 * SHIFT}
    assert driven.step(2).ids == ["2", "1"]


def test_waiting_job_given_back_is_found_among_the_pending(driven: DrivenQueue) -> None:
    driven.add()
    driven.release(driven.start_one())
    assert change(driven, 2) == (True, 1)
    assert driven.pending() == {} and driven.entries() == []
    assert driven.step(1).ids == ["1"]


def test_prioritized_job_gets_another_place_in_the_order(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(priority=3), driven.row(priority=3))
    change(driven, 1, "2")
    assert driven.field("2", "priority") == "1"
    assert driven.state("2") == "prioritized"
    assert driven.step(2).ids == ["2", "1"]


@pytest.mark.parametrize(("kind", "place"), [({}, "stream"), ({"lifo": 1}, "lifo")])
def test_prioritized_job_without_priority_waits(driven: DrivenQueue, kind: Any, place: str) -> None:
    driven.add(priority=3, **kind)
    assert change(driven, 0) == (True, 1)
    assert (driven.state("1"), driven.field("1", "priority")) == ("waiting", "0")
    assert driven.members("scheduled") == {}
    assert (driven.entries() if place == "stream" else driven.elements(place)) == ["1"]
    assert driven.step(1).ids == ["1"]


@pytest.mark.parametrize(("before", "after"), [(0, 9), (9, 0), (9, 2)])
def test_delayed_job_keeps_its_due_time(driven: DrivenQueue, before: int, after: int) -> None:
    driven.add(delay=60_000, priority=before)
    change(driven, after)
    assert driven.members("scheduled") == {"1": after * SHIFT + driven.now + 60_000}
    assert (driven.state("1"), driven.field("1", "priority")) == ("delayed", str(after))


def test_no_priority_for_a_waiting_job_changes_nothing(driven: DrivenQueue) -> None:
    driven.add()
    before = driven.snapshot()
    assert change(driven, 0) == (False, 1)
    assert driven.snapshot() == before


def test_running_job_is_refused(driven: DrivenQueue) -> None:
    driven.add()
    driven.start_one()
    assert_refused(driven, 5, "invalid_state")


def test_job_that_a_host_is_about_to_start_is_refused(driven: DrivenQueue) -> None:
    driven.add()
    driven.create_group()
    driven.read_as_node("worker-1")
    assert_refused(driven, 5, "invalid_state")


def test_waiting_lifo_job_has_no_priority(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    assert_refused(driven, 5, "not_in_stream")


def test_jobs_that_are_nowhere_are_refused(driven: DrivenQueue) -> None:
    driven.hash("1", state="waiting")
    assert_refused(driven, 5, "not_in_stream")
    driven.hash("1", state="prioritized")
    assert_refused(driven, 5, "not_in_scheduled")


def test_missing_job_is_not_found(driven: DrivenQueue) -> None:
    with pytest.raises(JobNotFoundError, match=r"^Cannot change priority: not_found$"):
        change(driven, 5)
    assert driven.suffixes() == []


def test_priority_out_of_range_is_refused_on_both_sides(driven: DrivenQueue) -> None:
    driven.add()
    with pytest.raises(ValidationError, match=r"^Priority must be >= 0$"):
        change(driven, -1)
    with pytest.raises(ValidationError, match=r"^Priority must be <= 2048$"):
        change(driven, 2049)
    before = driven.snapshot()
    for priority in (-1, 2049, 1.5):
        assert driven.call("change_priority", id="1", priority=priority) == [b"invalid_priority"]
    assert driven.snapshot() == before


def test_entry_in_a_long_stream_is_found_in_bounded_calls_and_the_job_may_start_meanwhile(
    driven: DrivenQueue,
) -> None:
    driven.add_waiting("1", entry_ms=10_000, timestamp=20_000)
    pipeline = driven.client.pipeline(transaction=False)
    for index in range(6000):
        pipeline.xadd(driven.key("stream"), {"jobId": f"x{index}", "name": "n"}, id="20000-*")
    pipeline.execute()
    status, resume = driven.call("change_priority", id="1", priority=5)
    assert status == b"more"
    assert driven.state("1") == "waiting"
    assert change(driven, 5) == (True, 4)
    assert driven.state("1") == "prioritized" and "1" not in driven.entries()
    assert driven.step(1).ids == ["1"]
    reply = driven.call("change_priority", id="1", priority=5, resume=resume)
    assert reply == [b"invalid_state"]


def test_a_resume_of_foreign_making_is_refused(driven: DrivenQueue) -> None:
    reply = driven.call("change_priority", id="1", priority=5, resume=[7])
    with pytest.raises(ServerError, match="resume must come from an earlier reply"):
        ChangePriorityCommand("k", job_id="1", priority=5).parse_reply(reply)
