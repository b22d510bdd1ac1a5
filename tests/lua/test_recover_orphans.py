"""gmq_recover_orphans: what a host owns and does not know goes back, everything else stays."""

from __future__ import annotations

import pytest

from tests.lua.driven_queue import DrivenQueue


def test_activation_whose_reply_was_lost_waits_again(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row() for _ in range(3)])
    known = driven.start_one()
    driven.start(2)  # this reply never arrived
    assert driven.recover_orphans(known) == ["2", "3"]
    assert driven.state("1") == "active"
    assert driven.step(5).ids == ["2", "3"]


def test_lost_holder_is_refused_afterwards(driven: DrivenQueue) -> None:
    driven.add()
    lost = driven.start_one()
    driven.recover_orphans()
    assert driven.complete(lost) == [4]
    driven.start_one()
    driven.pass_time(1)
    assert driven.complete(lost) == [4]


@pytest.mark.parametrize("kind", [{"lifo": 1}, {"priority": 2}])
def test_list_jobs_are_found_by_their_cell(driven: DrivenQueue, kind: dict[str, int]) -> None:
    driven.enqueue(*[driven.row(**kind) for _ in range(3)])
    known, *lost = driven.start(3)
    assert driven.recover_orphans(known) == [job.id for job in lost]
    assert driven.list_active() == 1
    assert set(driven.members("x-py:active:c1")) == {known.id}
    assert driven.step(3).ids == [job.id for job in lost]


def test_jobs_of_other_hosts_stay(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row(lifo=1), driven.row())
    driven.start(2, consumer="c2")
    assert driven.recover_orphans(consumer="c1") == []
    assert driven.step(0).ids == []
    assert driven.state("1") == driven.state("2") == "active"


def test_entry_that_a_reader_claimed_and_nobody_started_goes_back(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    driven.create_group()
    claimed = driven.read_as_node("c1")
    assert driven.recover_orphans() == ["1"]
    assert driven.pending() == {claimed[0][0]: "py-returned"}
    assert driven.step(2).ids == ["1", "2"]


def test_job_started_again_under_another_token_is_an_orphan(driven: DrivenQueue) -> None:
    driven.add()
    first = driven.start_one()
    driven.release(first)
    driven.start_one()  # this reply never arrived
    assert driven.recover_orphans(first) == ["1"]


def test_entries_of_jobs_that_are_no_more_are_dropped(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row(), driven.row(lifo=1))
    jobs = driven.start(3)
    for job in jobs:
        driven.client.delete(driven.key(f"job:{job.id}"))
    assert driven.recover_orphans() == []
    assert driven.entries() == []
    assert driven.members("x-py:active:c1") == {}


def test_deleted_entry_is_acknowledged(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.client.xdel(driven.key("stream"), job.entry_id)
    assert driven.recover_orphans(job) == []
    assert driven.pending() == {}


def test_pages_are_walked_to_the_end(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row() for _ in range(25)], *[driven.row(lifo=1) for _ in range(25)])
    jobs = driven.start(50)
    known = jobs[::2]
    lost = {job.id for job in jobs[1::2]}
    assert set(driven.recover_orphans(*known, limit=7)) == lost
    assert driven.list_active() == sum(1 for job in known if job.entry_id == "")


def test_repetition_changes_nothing(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row(lifo=1))
    driven.start(2)
    driven.recover_orphans()
    before = driven.snapshot()
    assert driven.recover_orphans() == []
    assert driven.snapshot() == before


def test_queue_that_does_not_exist_has_no_orphans(driven: DrivenQueue) -> None:
    assert driven.recover_orphans() == []
