"""drain: what waits is deleted, what runs, is parked or already over stays."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.drain import DrainCommand
from glidemq.errors import ServerError
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute_all


def drain(driven: DrivenQueue, *, delayed: bool = False) -> tuple[int, int]:
    """The number of jobs deleted, and of calls."""
    results = execute_all(driven, DrainCommand(driven.key("meta"), delayed=delayed))
    return results[-1].deleted, len(results)


KINDS: dict[str, dict[str, Any]] = {
    "stream": {},
    "lifo": {"lifo": 1},
    "prioritized": {"priority": 5},
    "delayed": {"delay": 1000},
    "delayed with a priority": {"delay": 1000, "priority": 5},
}


def add_every_kind(driven: DrivenQueue) -> None:
    for name, kind in KINDS.items():
        driven.add(job_id=name, **kind)


def test_waiting_and_prioritized_jobs_go_delayed_ones_stay(driven: DrivenQueue) -> None:
    add_every_kind(driven)
    driven.client.rpush(driven.key("log:stream"), "line")
    assert drain(driven) == (3, 1)
    assert set(driven.members("scheduled")) == {"delayed", "delayed with a priority"}
    assert [name for name in KINDS if driven.state(name)] == ["delayed", "delayed with a priority"]
    assert driven.events()[-1] == {"event": "drained", "jobId": "3"}
    assert not {"log:stream", "lifo", "priority"} & set(driven.suffixes())
    driven.pass_time(1000)
    assert len(driven.step(9).ids) == 2


def test_delayed_jobs_go_on_demand(driven: DrivenQueue) -> None:
    add_every_kind(driven)
    assert drain(driven, delayed=True)[0] == 5
    assert set(driven.suffixes()) == {"events", "stream", "x-py:bell"}
    assert driven.entries() == []


def test_jobs_in_the_priority_list_and_those_given_back_go(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    driven.release(*driven.start(2))
    driven.add(priority=3)
    driven.promote_due()
    driven.add()
    assert drain(driven)[0] == 4
    assert driven.entries() == [] and driven.pending() == {} and driven.elements("priority") == []
    assert driven.step(9).ids == []


def test_running_jobs_stay_and_can_be_completed(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row(lifo=1), driven.row())
    first, second = driven.start(2)
    assert drain(driven)[0] == 1
    assert driven.complete(first, second) == [1, 1]
    assert driven.step(1).ids == []


def test_job_that_a_host_is_about_to_start_stays(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    driven.create_group()
    claimed = driven.read_as_node("c1")
    assert drain(driven)[0] == 1
    assert driven.step(1, claimed=claimed).ids == ["1"]


def test_parked_suspended_finished_jobs_and_waiting_parents_stay(driven: DrivenQueue) -> None:
    driven.add_scored("groupq:k", "parked", 1, state="group-waiting", groupKey="k", orderingSeq=1)
    driven.add_scored("suspended", "suspended", 1, state="suspended")
    driven.add_scored("completed", "completed", 1, state="completed")
    driven.add_scored("failed", "failed", 1, state="failed")
    driven.hash("parent", state="waiting-children")
    before = driven.snapshot()
    assert drain(driven, delayed=True) == (0, 1)
    assert driven.snapshot() == before


@pytest.mark.parametrize("state", ["completed", "failed", "active", "delayed"])
def test_echo_of_a_job_that_lives_elsewhere_goes_without_the_job(driven: DrivenQueue, state: str) -> None:
    driven.add_waiting("1")
    driven.client.rpush(driven.key("lifo"), "1")
    driven.client.rpush(driven.key("priority"), "1")
    driven.client.hset(driven.key("job:1"), "state", state)
    if state == "delayed":
        driven.client.zadd(driven.key("scheduled"), {"1": driven.now + 1000})
    assert drain(driven)[0] == 0
    assert driven.state("1") == state
    assert driven.entries() == [] and driven.elements("lifo") == [] and driven.elements("priority") == []


def test_ids_without_a_job_go_and_are_not_counted(driven: DrivenQueue) -> None:
    driven.add_waiting("1")
    driven.client.rpush(driven.key("lifo"), "ghost")
    driven.client.zadd(driven.key("scheduled"), {"ghost": 2**42, "2||subscription": 1})
    driven.client.delete(driven.key("job:1"))
    assert drain(driven, delayed=True)[0] == 0
    assert set(driven.suffixes()) <= {"stream"}


def test_turns_of_drained_jobs_are_skipped_and_their_group_goes_on(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("group:k"), mapping={"nextSeq": 1})
    driven.client.hset(driven.key("ordering"), "k", 2)
    driven.add_waiting("1", groupKey="k", orderingSeq=1)
    driven.add_scored("groupq:k", "2", 2, state="group-waiting", groupKey="k", orderingSeq=2)
    drain(driven)
    assert driven.client.hget(driven.key("group:k"), "nextSeq") == b"2"
    assert driven.step(2).ids == ["2"]


def test_many_jobs_of_every_kind_take_bounded_rounds_and_one_event(driven: DrivenQueue) -> None:
    for kind in ({}, {"lifo": 1}, {"priority": 5}, {"priority": 6}, {"delay": 1000}):
        driven.enqueue(*[driven.row(**kind) for _ in range(700)])
    status, deleted, _ = driven.call("drain", delayed=False)
    assert (status, deleted) == (b"more", 500)
    deleted, calls = drain(driven, delayed=True)
    assert (deleted, calls) == (3000, 7)
    assert [event["event"] for event in driven.events()].count("drained") == 1
    assert driven.events()[-1] == {"event": "drained", "jobId": "3000"}
    assert not driven.client.keys(driven.key("job:*"))


def test_many_priorities_take_bounded_rounds(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row(priority=number, delay=number % 2) for number in range(1, 1501)])
    deleted, calls = drain(driven)
    assert deleted == 750
    assert calls == 4
    assert len(driven.members("scheduled")) == 750


def test_what_is_added_after_the_first_round_stays(driven: DrivenQueue) -> None:
    for kind in ({}, {"lifo": 1}, {"priority": 5}):
        driven.enqueue(*[driven.row(**kind) for _ in range(300)])
    status, _, resume = driven.call("drain", delayed=False)
    added = [driven.add(), driven.add(lifo=1), driven.add(priority=9)]
    while status == b"more":
        status, deleted, *rest = driven.call("drain", delayed=False, resume=resume)
        resume = rest[0] if rest else None
    assert deleted == 900
    assert sorted(driven.step(9).ids) == sorted(added)


def test_empty_queue_has_nothing_to_drain(driven: DrivenQueue) -> None:
    assert drain(driven, delayed=True) == (0, 1)
    assert driven.suffixes() == []


@pytest.mark.parametrize("resume", [[1], [1, "", 0, 0, 0, 0, "x", 0]])
def test_a_resume_of_foreign_making_is_refused(driven: DrivenQueue, resume: list[Any]) -> None:
    reply = driven.call("drain", delayed=False, resume=resume)
    with pytest.raises(ServerError, match="resume"):
        DrainCommand("k").parse_reply(reply)
