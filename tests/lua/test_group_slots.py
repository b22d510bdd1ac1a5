"""Slots of a group: every way out of a run gives them back, or keeps them as ruled, and the next job goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.lua.driven_queue import Started
from tests.lua.grouped_queue import GroupedQueue

ACCEPTED, ALREADY, LEASE_LOST, RETRYING, FAILED = 1, 2, 4, 5, 6


def held(grouped: GroupedQueue, job_id: str) -> str | None:
    return grouped.field(job_id, "x-py:slot")


def revoke(grouped: GroupedQueue, job_id: str) -> None:
    assert grouped.call("revoke", id=job_id)[0] in {b"revoked", b"flagged"}


def remove(grouped: GroupedQueue, job_id: str) -> None:
    assert grouped.call("remove", id=job_id)[0] == b"ok"


# -- ends of a running job

ENDS: dict[str, Callable[[GroupedQueue, Started], None]] = {
    "complete": lambda grouped, job: grouped.complete(job),
    "fail": lambda grouped, job: grouped.fail(job),
    "fail with the last attempt": lambda grouped, job: grouped.fail(job, max_attempts=1),
    "poison": lambda grouped, job: grouped.release(job, crash="SIGSEGV", max_crashes=1),
    "stall too often": lambda grouped, job: stall(grouped, max_stalled=0),
    "remove": lambda grouped, job: remove(grouped, job.id),
    "complete after a revocation": lambda grouped, job: (
        revoke(grouped, job.id),
        grouped.complete(job),
    ),
    "fail after a revocation": lambda grouped, job: (
        revoke(grouped, job.id),
        grouped.fail(job, max_attempts=9),
    ),
    "give back after a revocation": lambda grouped, job: (
        revoke(grouped, job.id),
        grouped.release(job),
    ),
    "stall after a revocation": lambda grouped, job: (
        revoke(grouped, job.id),
        stall(grouped),
    ),
    "stall after the ttl": lambda grouped, job: stall(grouped, ms=10_000_000),
    "complete and remove": lambda grouped, job: grouped.complete(job, retain=True),
    "fail and remove": lambda grouped, job: grouped.fail(job, retain=True),
}  # fmt: skip


def stall(grouped: GroupedQueue, *, max_stalled: int = 1, ms: int = 60_000) -> None:
    grouped.pass_time(ms)
    assert len(grouped.recover_stalled(max_stalled=max_stalled)) == 1


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("end", ENDS)
def test_end_of_a_run_frees_the_slot_once(grouped: GroupedQueue, end: str, concurrency: int) -> None:
    (first,) = grouped.join(concurrency=concurrency, own={"ttl": 5_000_000})
    others = grouped.join(3, concurrency=concurrency)
    job = grouped.start_one()
    assert (job.id, grouped.active()) == (first, 1)
    ENDS[end](grouped, job)
    assert grouped.active() == 0
    # A late report of the same run changes nothing.
    grouped.complete(job)
    grouped.fail(job)
    assert grouped.active() == 0
    order = grouped.step(9).ids
    assert order == others[:concurrency]
    assert grouped.active() == concurrency


@pytest.mark.parametrize("end", ENDS)
def test_end_of_a_run_lets_a_parked_job_go(grouped: GroupedQueue, end: str) -> None:
    (first,), (second,) = grouped.join(own={"ttl": 5_000_000}), grouped.join()
    job = grouped.step(2).started[0]
    assert (job.id, grouped.parked()) == (first, [second])
    ENDS[end](grouped, job)
    assert grouped.step(2).ids == [second]


# -- runs that will be repeated


def give_up(grouped: GroupedQueue, how: str, job: Started) -> None:
    if how == "retry":
        assert grouped.fail(job, max_attempts=3) == [[RETRYING, 1]]
    elif how == "retry later":
        assert grouped.fail(job, max_attempts=3, delay=500) == [[RETRYING, 1]]
    elif how == "stall":
        stall(grouped)
    else:
        row = [*job.fence, job.entry_id, grouped.now + 500, False]
        assert grouped.call("move_to_delayed", rows=[row])[2] == [ACCEPTED]


REPEATED = ["retry", "retry later", "stall", "move to delayed"]


@pytest.mark.parametrize("how", REPEATED)
def test_concurrency_of_one_keeps_the_turn_until_the_job_has_ended(grouped: GroupedQueue, how: str) -> None:
    first, second = grouped.join(2)
    give_up(grouped, how, grouped.start_one())
    assert grouped.active() == 1
    stepped = grouped.step(2)
    assert stepped.ids in ([], [first])
    grouped.pass_time(500)
    (again,) = stepped.started or grouped.step(2).started
    assert again.id == first
    assert grouped.active() == 1
    assert grouped.step(2, complete=[grouped.completion(again)]).ids == [second]
    assert grouped.active() == 1


@pytest.mark.parametrize("how", ["retry", "stall"])
def test_job_that_is_ready_again_at_once_takes_the_slot_that_it_gave_up(
    grouped: GroupedQueue, how: str
) -> None:
    first, second, third = grouped.join(3, concurrency=2)
    jobs = grouped.step(4).started
    grouped.client.hset(grouped.key(f"job:{second}"), "lastActive", grouped.now + 60_000)
    give_up(grouped, how, jobs[0])
    assert grouped.active() == 1
    assert held(grouped, first) == "0"
    assert grouped.step(4).ids == [first]
    assert (grouped.active(), grouped.parked()) == (2, [third])


@pytest.mark.parametrize("how", ["retry later", "move to delayed"])
def test_concurrency_above_one_lets_another_have_the_slot_meanwhile(grouped: GroupedQueue, how: str) -> None:
    first, second, third, fourth = grouped.join(4, concurrency=2)
    jobs = grouped.step(4).started
    assert [job.id for job in jobs] == [first, second]
    give_up(grouped, how, jobs[0])
    assert held(grouped, first) == "0"
    # The slot goes to the next one, and the first, which comes before the fourth, takes the next that is free.
    third_job = grouped.step(4).started[0]
    assert (third_job.id, grouped.active()) == (third, 2)
    grouped.pass_time(500)
    assert grouped.step(4).ids == []
    assert grouped.parked() == [first, fourth]
    (again,) = grouped.step(4, complete=[grouped.completion(jobs[1])]).started
    assert (again.id, held(grouped, first), grouped.active()) == (first, "1", 2)
    assert grouped.step(4, complete=[grouped.completion(again)]).ids == [fourth]
    assert grouped.active() == 2


@pytest.mark.parametrize("how", ["retry", "retry later"])
def test_slots_are_held_through_retries_on_demand(grouped: GroupedQueue, how: str) -> None:
    first, second, third = grouped.join(3, concurrency=2)
    jobs = grouped.step(3).started
    delay = 0 if how == "retry" else 500
    grouped.fail(jobs[0], max_attempts=3, delay=delay, hold_group_slots=True)
    assert grouped.active() == 2
    grouped.pass_time(500)
    again = grouped.step(3).started
    assert [job.id for job in again] == [first]
    assert grouped.active() == 2
    assert grouped.step(3, complete=[grouped.completion(jobs[1])]).ids == [third]
    assert second in grouped.members("completed")


# -- started jobs that end while they do not run


def back_off(grouped: GroupedQueue, concurrency: int = 1, **own: Any) -> tuple[str, str]:
    """The first of two jobs has failed and waits for its next attempt. Returns both ids."""
    first, second = grouped.join(2, concurrency=concurrency, own=own)
    job = grouped.start_one()
    grouped.fail(job, max_attempts=3, delay=500)
    assert grouped.active() == (1 if concurrency == 1 else 0)
    return first, second


@pytest.mark.parametrize("end", [revoke, remove])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_job_ended_while_it_waits_for_a_retry_frees_what_it_holds(
    grouped: GroupedQueue, end: Callable[[GroupedQueue, str], None], concurrency: int
) -> None:
    first, second = back_off(grouped, concurrency)
    end(grouped, first)
    assert grouped.active() == 0
    assert grouped.step(2).ids == [second]
    assert grouped.next_seq() == 3


def test_job_that_expires_before_its_retry_frees_what_it_holds(grouped: GroupedQueue) -> None:
    first, second = back_off(grouped, ttl=400)
    grouped.client.hdel(grouped.key(f"job:{second}"), "expireAt")
    grouped.pass_time(500)
    assert grouped.step(2).ids == [second]
    assert grouped.state(first) == "failed"
    assert grouped.active() == 1


def test_drained_job_frees_what_it_holds(grouped: GroupedQueue) -> None:
    _, second = back_off(grouped)
    grouped.step(2)
    assert grouped.parked() == [second]
    assert grouped.call("drain", delayed=True) == [b"done", 1]
    assert grouped.active() == 0
    assert grouped.step(2).ids == [second]


def test_malformed_hash_of_a_returning_job_frees_what_it_holds(grouped: GroupedQueue) -> None:
    first, second = back_off(grouped)
    grouped.client.hset(grouped.key(f"job:{first}"), "opts", "no JSON")
    grouped.pass_time(500)
    stepped = grouped.step(2)
    assert (stepped.ids, stepped.quarantined) == ([second], 1)
    assert grouped.active() == 1


@pytest.mark.parametrize("concurrency", [1, 2])
def test_failed_job_that_is_retried_by_hand_takes_a_slot_again(
    grouped: GroupedQueue, concurrency: int
) -> None:
    ids = grouped.join(4, concurrency=concurrency)
    grouped.fail(grouped.start_one())
    assert held(grouped, ids[0]) == "0"
    running = grouped.step(9).started
    assert [job.id for job in running] == ids[1 : 1 + concurrency]
    assert grouped.call("retry_job", id=ids[0]) == [b"ok"]
    assert grouped.step(9).ids == []
    assert grouped.parked()[0] == ids[0]
    stepped = grouped.step(9, complete=[grouped.completion(running[0])])
    assert stepped.ids == [ids[0]]
    assert grouped.active() == concurrency
    rest = grouped.work_off()
    assert rest == []
    for job in [*running[1:], *stepped.started]:
        assert grouped.complete(job) == [ACCEPTED]
    grouped.work_off()
    assert (grouped.active(), grouped.next_seq()) == (0, 5)


# -- Node's jobs


def test_job_that_node_started_gives_its_slot_back_here(grouped: GroupedQueue) -> None:
    # Node's hash has no mark: a started job holds its slot.
    first, second = grouped.join(2)
    grouped.create_group()
    grouped.deliver("worker-1-node", 1)
    grouped.client.hset(grouped.key("group:k"), mapping={"active": 1, "nextSeq": 2})
    assert grouped.step(2).ids == []
    grouped.pass_time(100_000)
    assert grouped.recover_stalled() == {first: "stalled"}
    assert grouped.active() == 1
    (job,) = grouped.step(2).started
    assert (job.id, grouped.active()) == (first, 1)
    assert grouped.step(2, complete=[grouped.completion(job)]).ids == [second]


def test_counter_that_was_too_low_never_goes_below_zero(grouped: GroupedQueue) -> None:
    grouped.join(1)
    job = grouped.start_one()
    grouped.client.hset(grouped.key("group:k"), "active", 0)
    grouped.complete(job)
    assert grouped.active() == 0
