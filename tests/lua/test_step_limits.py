"""gmq_step: pause, limits, byte budgets, entries that a reader claimed, and the bell."""

from __future__ import annotations

import pytest

from tests.lua.driven_queue import DrivenQueue

# -- limits


def test_paused_queue_starts_nothing_but_records_outcomes(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    job = driven.start_one()
    driven.client.hset(driven.key("meta"), "paused", "1")
    stepped = driven.step(4, complete=[driven.completion(job)])
    assert (stepped.outcomes, stepped.ids, stepped.paused, stepped.more) == ([1], [], 1, 0)
    driven.client.hset(driven.key("meta"), "paused", "0")
    assert driven.step(4).ids == ["2"]


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}, {"priority": 3}])
def test_global_concurrency_is_never_exceeded(driven: DrivenQueue, kind: dict[str, int]) -> None:
    driven.client.hset(driven.key("meta"), "globalConcurrency", "3")
    driven.enqueue(*[driven.row(**kind) for _ in range(6)])
    first = driven.step(2, consumer="c1")
    second = driven.step(2, consumer="c2")
    assert len(first.ids) == 2
    assert len(second.ids) == 1
    blocked = driven.step(2, consumer="c3")
    assert (blocked.ids, blocked.more) == ([], 2)
    stepped = driven.step(2, consumer="c1", complete=[driven.completion(first.started[0])])
    assert len(stepped.ids) == 1


def test_global_concurrency_counts_a_node_workers_jobs_and_not_returned_ones(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("meta"), "globalConcurrency", "2")
    driven.enqueue(*[driven.row() for _ in range(4)])
    driven.step(0)
    driven.create_group()
    driven.deliver("worker-1-node", 1)
    job = driven.start_one()
    assert driven.step(1).ids == []
    driven.release(job)
    assert driven.step(1).ids == [job.id]


def test_jobs_of_groups_may_wait_behind_running_ones_like_others(driven: DrivenQueue) -> None:
    driven.add_waiting("g1", "g2", "g3", groupKey="g")
    driven.add_waiting("p1", "p2")
    assert driven.step(1, ahead=2).ids == ["g1", "g2", "g3"]
    assert driven.step(0, ahead=4).ids == ["p1", "p2"]


def test_large_payloads_stop_at_the_byte_limit_and_keep_their_order(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row(data='"' + "x" * 400 + '"') for _ in range(5)])
    stepped = driven.step(5, max_bytes=1000)
    assert stepped.ids == ["1", "2"]
    assert stepped.more == 1
    assert driven.step(5, max_bytes=1000).ids == ["3", "4"]
    assert driven.step(5, max_bytes=1000).ids == ["5"]


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}])
def test_one_job_beyond_the_byte_limit_still_starts(driven: DrivenQueue, kind: dict[str, int]) -> None:
    driven.enqueue(*[driven.row(data='"' + "x" * 4000 + '"', **kind) for _ in range(2)])
    assert len(driven.step(2, max_bytes=1000).ids) == 1
    assert len(driven.step(2, max_bytes=0).ids) == 1


# -- entries that a blocking reader claimed


def test_claimed_entry_starts_before_those_that_nobody_has_read(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    driven.create_group()
    claimed = driven.read_as_node("c1")
    stepped = driven.step(1, claimed=claimed)
    assert stepped.ids == ["1"]
    assert driven.pending() == {claimed[0][0]: "c1"}


@pytest.mark.parametrize("kind", [{"lifo": 1}, {"priority": 7}])
def test_claimed_entry_gives_way_to_what_is_more_urgent_and_others_hear_of_it(
    driven: DrivenQueue, kind: dict[str, int]
) -> None:
    driven.enqueue(driven.row(), driven.row(), driven.row(**kind))
    driven.create_group()
    claimed = driven.read_as_node("c1")
    rings = driven.client.xlen(driven.key("x-py:bell"))
    stepped = driven.step(1, claimed=claimed)
    assert (stepped.ids, stepped.more) == (["3"], 1)
    assert driven.pending() == {claimed[0][0]: "py-returned"}
    assert driven.client.xlen(driven.key("x-py:bell")) == rings + 1
    assert driven.step(2).ids == ["1", "2"]


def test_job_that_was_given_back_starts_before_a_claimed_entry(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row(), driven.row())
    driven.create_group()
    older = driven.read_as_node("c1")
    driven.step(0, claimed=older)
    assert driven.step(2, claimed=driven.read_as_node("c2")).ids == ["1", "2"]


@pytest.mark.parametrize(
    ("meta", "slots"), [({"paused": "1"}, 1), ({"globalConcurrency": "1"}, 1), ({"paused": "0"}, 0)]
)
def test_claimed_entry_that_cannot_start_goes_back_in_front(
    driven: DrivenQueue, meta: dict[str, str], slots: int
) -> None:
    driven.enqueue(driven.row(), driven.row(), driven.row())
    driven.start_one(consumer="busy")
    driven.client.hset(driven.key("meta"), mapping=meta)
    claimed = driven.read_as_node("c1")
    assert driven.step(slots, claimed=claimed).ids == []
    assert driven.pending()[claimed[0][0]] == "py-returned"
    driven.client.delete(driven.key("meta"))
    assert driven.step(2).ids == ["2", "3"]


def test_claimed_entry_does_not_take_its_own_place_under_a_global_limit(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("meta"), "globalConcurrency", "1")
    driven.add()
    driven.create_group()
    assert driven.step(1, claimed=driven.read_as_node("c1")).ids == ["1"]


def test_claim_that_others_took_over_is_left_with_them(driven: DrivenQueue) -> None:
    driven.add()
    driven.create_group()
    claimed = driven.read_as_node("c1")
    driven.recover_orphans(consumer="c1")
    job = driven.start_one(consumer="c2")
    assert driven.step(1, consumer="c1", claimed=claimed).ids == []
    assert driven.pending() == {job.entry_id: "c2"}


def test_claim_repeated_after_a_lost_reply_leaves_the_active_job_alone(driven: DrivenQueue) -> None:
    driven.add()
    driven.create_group()
    claimed = driven.read_as_node("c1")
    driven.step(1, claimed=claimed)
    before = driven.snapshot()
    assert driven.step(1, claimed=claimed).ids == []
    assert driven.snapshot() == before


def test_claimed_entry_that_others_finished_is_not_started(driven: DrivenQueue) -> None:
    driven.add()
    driven.create_group()
    (claimed,) = driven.read_as_node("c1")
    driven.client.xack(driven.key("stream"), "workers", claimed[0])
    assert driven.step(1, claimed=[claimed]).ids == []
    assert driven.state("1") == "waiting"


def test_claimed_entry_of_a_removed_job_is_dropped(driven: DrivenQueue) -> None:
    driven.add()
    driven.create_group()
    claimed = driven.read_as_node("c1")
    driven.client.delete(driven.key("job:1"))
    assert driven.step(1, claimed=claimed).ids == []
    assert driven.entries() == []


# -- the bell


def test_bell_rings_again_while_list_work_is_left(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(lifo=1), driven.row(lifo=1))
    before = driven.rings()
    driven.step(1)
    assert driven.rings() == before + 1
    driven.step(1)
    assert driven.rings() == before + 1


def test_blocked_host_does_not_ring(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("meta"), "globalConcurrency", "1")
    driven.enqueue(driven.row(lifo=1), driven.row(lifo=1))
    driven.step(1)
    before = driven.rings()
    driven.step(1)
    assert driven.rings() == before


def test_full_host_passes_a_ring_on(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    driven.client.xgroup_create(driven.key("x-py:bell"), "workers", id="0")
    ring = driven.client.xreadgroup("workers", "c1", {driven.key("x-py:bell"): ">"})[0][1][0][0]
    driven.step(0, rung=[ring])
    assert driven.rings() == 1
    assert driven.client.xpending(driven.key("x-py:bell"), "workers")["pending"] == 0


def test_answered_ring_is_gone(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    driven.client.xgroup_create(driven.key("x-py:bell"), "workers", id="0")
    ring = driven.client.xreadgroup("workers", "c1", {driven.key("x-py:bell"): ">"})[0][1][0][0]
    assert driven.step(1, rung=[ring]).ids == ["1"]
    assert driven.rings() == 0
    assert driven.client.xpending(driven.key("x-py:bell"), "workers")["pending"] == 0
