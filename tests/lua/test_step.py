"""gmq_step: what starts, in which order, and what a host is told about it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.driven_queue import START_MS, DrivenQueue

# -- starting


def test_started_job_is_active_leased_and_handed_over_whole(driven: DrivenQueue) -> None:
    driven.add("greet", '{"a":1}', '{"attempts":3}', attempts=3)
    driven.pass_time(5)
    (job,) = driven.step(1, run="abc").started
    entry = driven.client.xrange(driven.key("stream"))[0][0].decode()
    assert job[:7] == ("1", "abc.1", entry, "greet", '{"attempts":3}', START_MS + 5, 0)
    texts = [b"1", b"greet", b'{"a":1}', b'{"attempts":3}']
    assert job.blob == [*texts, START_MS, 0, 0, START_MS + 5, b"abc.1", entry.encode(), {}]
    stored = driven.job("1")
    assert stored["state"] == "active"
    assert stored["processedOn"] == stored["lastActive"] == str(START_MS + 5)
    assert stored["x-py:run"] == "abc.1"
    assert driven.pending() == {entry: "c1"}
    assert driven.events_of("1") == ["added"]  # the wire has no event for an ordinary start


def test_jobs_start_in_order_and_tokens_count_up(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row() for _ in range(5)])
    stepped = driven.step(3, run="r")
    assert stepped.ids == ["1", "2", "3"]
    assert [job.token for job in stepped.started] == ["r.1", "r.2", "r.3"]
    assert driven.step(10).ids == ["4", "5"]


def test_empty_queue_yields_nothing_and_gets_its_group(driven: DrivenQueue) -> None:
    assert driven.step(4) == (START_MS, [], [], 0, -1, 0, 0, 0, 0, ())
    assert driven.client.xinfo_groups(driven.key("stream"))[0]["name"] == b"workers"


def test_backlog_from_before_the_group_is_delivered(driven: DrivenQueue) -> None:
    driven.add_waiting("old")
    assert driven.step(1).ids == ["old"]


def test_group_removed_under_way_is_created_again(driven: DrivenQueue) -> None:
    driven.start(0)
    driven.client.delete(driven.key("stream"))
    driven.add()
    assert driven.step(1).ids == ["1"]


def test_extra_fields_travel_by_name(driven: DrivenQueue) -> None:
    fields = {
        "progress": "40", "parentId": "p", "parentQueue": "q", "groupKey": "g", "orderingSeq": "1",
        "schedulerName": "s", "fallbackIndex": "2", "stalledCount": "1", "failedReason": "boom",
        "x-py:crashes": "1", "lifo": "1", "signals": "[]", "cost": "1000", "budgetKey": "b", "delay": "7",
        "parentIds": "[]", "parentQueues": "[]",
    }  # fmt: skip
    driven.add_waiting("1", **fields)
    job = driven.start_one()
    assert job.extras == fields
    assert job.flags == 1 + 2 + 4


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({"groupKey": "g"}, 1),
        ({"cost": "5"}, 1),
        ({"parentId": "p"}, 2),
        ({"parentIds": "[]"}, 2),
        ({"schedulerName": "s"}, 2),
        ({"x-py:crashes": "0"}, 4),
        ({"progress": "5"}, 0),
    ],
)
def test_flags_tell_what_a_gateway_must_know(driven: DrivenQueue, fields: dict[str, str], flags: int) -> None:
    driven.add_waiting("1", **fields)
    assert driven.start_one().flags == flags


# -- order


def test_urgent_before_lifo_before_fifo(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row("fifo1"), driven.row("fifo2"))
    driven.enqueue(driven.row("low", priority=9), driven.row("high", priority=1))
    driven.enqueue(driven.row("lifo1", lifo=1), driven.row("lifo2", lifo=1))
    assert [job.name for job in driven.start(6)] == ["high", "low", "lifo2", "lifo1", "fifo1", "fifo2"]


def test_jobs_of_one_priority_start_in_the_order_of_their_adding(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row(priority=5) for _ in range(12)])
    started = [driven.start_one().id for _ in range(6)] + driven.step(6).ids
    assert started == [str(n) for n in range(1, 13)]


def test_job_more_urgent_than_a_waiting_crowd_starts_next(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row(priority=5) for _ in range(300)])
    driven.start(4)
    urgent = driven.add(priority=1)
    assert driven.step(1).ids == [urgent]
    assert driven.elements("priority") == []


def test_priority_list_filled_by_others_counts_against_promotion(driven: DrivenQueue) -> None:
    driven.add_listed("priority", "a", "b")
    driven.enqueue(*[driven.row(priority=5) for _ in range(5)])
    assert driven.step(2).ids == ["b", "a"]
    assert len(driven.members("scheduled")) == 5


def test_delayed_job_starts_when_due_and_not_before(driven: DrivenQueue) -> None:
    driven.add(delay=400)
    driven.pass_time(399)
    early = driven.step(1)
    assert (early.ids, early.next_due, early.more) == ([], START_MS + 400, 0)
    driven.pass_time(1)
    assert driven.step(1).ids == ["1"]
    assert driven.events_of("1") == ["added", "promoted"]


def test_promotion_stops_at_what_the_step_wants(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row(delay=1) for _ in range(10)])
    driven.pass_time(1)
    stepped = driven.step(3)
    assert stepped.ids == ["1", "2", "3"]
    assert len(driven.members("scheduled")) == 7
    assert stepped.next_due <= driven.now
    assert stepped.more == 1


# -- lists


def test_list_job_is_accounted_for_while_active(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    job = driven.start_one()
    assert job.entry_id == ""
    assert driven.list_active() == 1
    assert driven.members("x-py:active:c1") == {"1": START_MS}
    assert driven.job("1")["x-py:cell"] == "c1"
    assert driven.complete(job) == [1]
    assert driven.list_active() == 0
    assert driven.members("x-py:active:c1") == {}


def test_list_active_never_goes_below_zero(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    job = driven.start_one()
    driven.client.set(driven.key("list-active"), "0")  # a Node repair got there first
    driven.complete(job)
    assert driven.list_active() == 0


def test_negative_list_active_is_left_alone(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    job = driven.start_one()
    driven.client.set(driven.key("list-active"), "-3")
    driven.complete(job)
    assert driven.list_active() == -3


# -- arguments


@pytest.mark.parametrize(
    "wrong",
    [
        {"consumer": 5},
        {"complete": "rows"},
        {"complete": [["1", "t", "yesterday", "1-1", "null", False]]},
        {"complete": [["1", "t", 5]]},
        {"slots": "many"},
        {"max_bytes": False},
    ],
)
def test_malformed_arguments_are_refused_before_anything_is_written(
    driven: DrivenQueue, wrong: dict[str, Any]
) -> None:
    good = {
        "consumer": "c", "cell": "c", "run": "r", "complete": [], "slots": 1, "ahead": 0, "claimed": [],
        "max_bytes": 1,
    }  # fmt: skip
    assert driven.call("step", **{**good, **wrong})[0] == b"bad_argument"
    assert driven.suffixes() == []


def test_more_than_a_thousand_are_never_started_at_once(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row(lifo=1) for _ in range(1100)])
    assert len(driven.step(5000).ids) == 1000
    assert driven.list_active() == 1000
