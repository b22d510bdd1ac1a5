"""change_delay: a job that has not started falls due at another time."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.change_delay import ChangeDelayCommand
from glidemq.errors import JobNotFoundError, JobStateError, ServerError, ValidationError
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute_all

SHIFT = 2**42


def change(driven: DrivenQueue, delay_ms: int, job_id: str = "1") -> tuple[bool, int]:
    """Whether the delay was changed, and the number of calls."""
    command = ChangeDelayCommand(driven.key("meta"), job_id=job_id, delay_ms=delay_ms)
    results = execute_all(driven, command)
    assert not any(result.changed for result in results[:-1])
    return results[-1].changed, len(results)


def assert_refused(driven: DrivenQueue, delay_ms: int, reason: str) -> None:
    before = driven.snapshot()
    with pytest.raises(JobStateError, match=f"^Cannot change delay: {reason}$"):
        change(driven, delay_ms)
    assert driven.snapshot() == before


def assert_delayed(driven: DrivenQueue, delay_ms: int, priority: int = 0) -> None:
    assert driven.members("scheduled") == {"1": priority * SHIFT + driven.now + delay_ms}
    assert (driven.state("1"), driven.field("1", "delay")) == ("delayed", str(delay_ms))
    assert driven.events()[-1] == {"event": "delay-changed", "jobId": "1", "delay": str(delay_ms)}


@pytest.mark.parametrize("priority", [0, 4])
def test_delayed_job_falls_due_counted_from_now(driven: DrivenQueue, priority: int) -> None:
    driven.add(delay=60_000, priority=priority)
    driven.pass_time(5_000)
    assert change(driven, 2_000) == (True, 1)
    assert_delayed(driven, 2_000, priority)
    assert driven.step(1).ids == []
    driven.pass_time(2_000)
    assert driven.step(1).ids == ["1"]


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}])
def test_waiting_job_is_delayed_and_leaves_its_place(driven: DrivenQueue, kind: Any) -> None:
    driven.add(**kind)
    assert change(driven, 3_000) == (True, 1)
    assert_delayed(driven, 3_000)
    assert driven.entries() == [] and driven.elements("lifo") == []
    driven.pass_time(3_000)
    assert driven.step(1).ids == ["1"]


def test_job_in_the_priority_list_is_delayed_within_its_priority(driven: DrivenQueue) -> None:
    driven.add(priority=4)
    driven.promote_due()
    change(driven, 3_000)
    assert_delayed(driven, 3_000, 4)
    assert driven.elements("priority") == []


def test_prioritized_job_is_delayed(driven: DrivenQueue) -> None:
    driven.add(priority=4)
    change(driven, 3_000)
    assert_delayed(driven, 3_000, 4)


@pytest.mark.parametrize(("kind", "place"), [({}, "stream"), ({"lifo": 1}, "lifo")], ids=["stream", "lifo"])
def test_end_of_a_delay_makes_the_job_wait(driven: DrivenQueue, kind: Any, place: str) -> None:
    driven.add(delay=60_000, **kind)
    rings = driven.rings()
    assert change(driven, 0) == (True, 1)
    assert (driven.state("1"), driven.field("1", "delay")) == ("waiting", "0")
    assert driven.members("scheduled") == {}
    assert (driven.entries() if place == "stream" else driven.elements(place)) == ["1"]
    assert driven.rings() == rings + 1
    assert driven.step(1).ids == ["1"]


def test_end_of_a_delay_makes_a_job_with_a_priority_prioritized(driven: DrivenQueue) -> None:
    driven.add(delay=60_000, priority=4)
    change(driven, 0)
    assert driven.members("scheduled") == {"1": 4 * SHIFT}
    assert (driven.state("1"), driven.field("1", "delay")) == ("prioritized", "0")


@pytest.mark.parametrize("kind", [{}, {"priority": 4}])
def test_no_delay_for_a_job_without_one_changes_nothing(driven: DrivenQueue, kind: Any) -> None:
    driven.add(**kind)
    before = driven.snapshot()
    assert change(driven, 0) == (False, 1)
    assert driven.snapshot() == before


def test_running_job_and_one_about_to_start_are_refused(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    driven.start_one()
    assert_refused(driven, 1_000, "invalid_state")
    driven.read_as_node("worker-1")
    before = driven.snapshot()
    with pytest.raises(JobStateError, match="invalid_state"):
        change(driven, 1_000, "2")
    assert driven.snapshot() == before


def test_jobs_that_are_nowhere_are_refused(driven: DrivenQueue) -> None:
    driven.hash("1", state="waiting")
    assert_refused(driven, 5, "not_in_stream")
    driven.hash("1", state="delayed")
    assert_refused(driven, 5, "not_in_scheduled")


def test_missing_job_is_not_found(driven: DrivenQueue) -> None:
    with pytest.raises(JobNotFoundError, match=r"^Cannot change delay: not_found$"):
        change(driven, 5)
    assert driven.suffixes() == []


def test_delay_out_of_range_is_refused(driven: DrivenQueue) -> None:
    driven.add()
    before = driven.snapshot()
    with pytest.raises(ValidationError, match=r"^Delay must be >= 0$"):
        change(driven, -1)
    with pytest.raises(ValidationError, match="2109"):
        change(driven, SHIFT)
    for delay_ms in (-1, 0.5, SHIFT - driven.now):
        assert driven.call("change_delay", id="1", delay_ms=delay_ms) == [b"invalid_delay"]
    assert driven.snapshot() == before
    assert driven.call("change_delay", id="1", delay_ms=SHIFT - driven.now - 1) == [b"ok"]


def test_entry_in_a_long_stream_is_found_in_bounded_calls(driven: DrivenQueue) -> None:
    driven.add_waiting("1", entry_ms=10_000, timestamp=20_000)
    pipeline = driven.client.pipeline(transaction=False)
    for index in range(6000):
        pipeline.xadd(driven.key("stream"), {"jobId": f"x{index}", "name": "n"}, id="20000-*")
    pipeline.execute()
    assert change(driven, 1_000) == (True, 4)
    assert_delayed(driven, 1_000)
    assert "1" not in driven.entries()


def test_a_resume_of_foreign_making_is_refused(driven: DrivenQueue) -> None:
    reply = driven.call("change_delay", id="1", delay_ms=5, resume=[7])
    with pytest.raises(ServerError, match="resume must come from an earlier reply"):
        ChangeDelayCommand("k", job_id="1", delay_ms=5).parse_reply(reply)
