"""Which ends of jobs become dead letters, in the very call that ends them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lua.dead_letters import DLQ, configure, fail_one, outbox, take
from tests.lua.driven_queue import DrivenQueue
from tests.lua.families import add_parent
from tests.lua.grouped_queue import GroupedQueue


def reasons(driven: DrivenQueue) -> list[tuple[str, str]]:
    """Which jobs became letters, and why."""
    return [(letter["job"], letter["reason"]) for letter in outbox(driven)]


def by_crashes(driven: DrivenQueue) -> str:
    job_id = driven.add()
    driven.release(driven.start_one(), crash="SIGSEGV", max_crashes=1)
    return job_id


def by_stalls(driven: DrivenQueue) -> str:
    job_id = driven.add()
    driven.start_one()
    driven.pass_time(31_000)
    driven.recover_stalled(max_stalled=0)
    return job_id


def by_expiry_at_start(driven: DrivenQueue) -> str:
    job_id = driven.add(ttl=10)
    driven.pass_time(11)
    driven.step(1)
    return job_id


def by_expiry_at_promotion(driven: DrivenQueue) -> str:
    job_id = driven.add(ttl=10, delay=20)
    driven.pass_time(21)
    driven.promote_due()
    return job_id


def by_suspension(driven: DrivenQueue) -> str:
    job_id = driven.add()
    job = driven.start_one()
    driven.call("suspend", rows=[[*job.fence, job.entry_id, False, 5_000]])
    driven.pass_time(5_001)
    driven.promote_due()
    return job_id


def by_malformation(driven: DrivenQueue) -> str:
    job_id = driven.add(opts="[")
    driven.step(1)
    return job_id


ENDS: list[tuple[Callable[[DrivenQueue], str], str]] = [
    (fail_one, "boom"),
    (by_crashes, "worker process killed by SIGSEGV 1 time"),
    (by_stalls, "job stalled more than maxStalledCount"),
    (by_expiry_at_start, "expired"),
    (by_expiry_at_promotion, "expired"),
    (by_suspension, "Suspend timeout exceeded"),
    (by_malformation, "malformed job: field opts is not a JSON object"),
]


@pytest.mark.parametrize(("end", "reason"), ENDS)
def test_every_terminal_failure_is_noted_once(
    driven: DrivenQueue, end: Callable[[DrivenQueue], str], reason: str
) -> None:
    configure(driven)
    job_id = end(driven)
    assert driven.state(job_id) == "failed"
    assert reasons(driven) == [(job_id, reason)]


@pytest.mark.parametrize(("end", "reason"), ENDS)
def test_nothing_is_noted_without_a_dead_letter_queue(
    driven: DrivenQueue, end: Callable[[DrivenQueue], str], reason: str
) -> None:
    job_id = end(driven)
    assert driven.field(job_id, "failedReason") == reason
    assert outbox(driven) == []


def test_job_that_costs_more_than_a_lowered_capacity_is_noted(grouped: GroupedQueue) -> None:
    configure(grouped)
    costly = grouped.join(bucket=(5000, 1000), cost=4000)[0]
    grouped.join(bucket=(3000, 1000))
    grouped.step(4)
    assert reasons(grouped) == [(costly, "cost exceeds token bucket capacity")]


def test_job_that_fails_as_its_group_is_paused_is_noted(grouped: GroupedQueue) -> None:
    configure(grouped)
    job_id = grouped.join()[0]
    job = grouped.start_one()
    grouped.call("rate_limit_group", rows=[[*job.fence, job.entry_id, 1000, "fail", "front", "max"]])
    assert reasons(grouped) == [(job_id, "group rate limited")]


def test_parent_that_fails_with_its_child_is_noted_as_well(driven: DrivenQueue) -> None:
    configure(driven)
    add_parent(driven, "p", "c")
    driven.fail(driven.start_one(), reason="boom")
    noted = dict(reasons(driven))
    assert noted == {job_id: driven.field(job_id, "failedReason") for job_id in ("c", "p")}


def test_revoked_jobs_are_not_noted(driven: DrivenQueue) -> None:
    configure(driven)
    waiting, running = driven.add(delay=1000), driven.add()
    job = driven.start_one()
    driven.call("revoke", id=waiting)
    driven.call("revoke", id=running)
    driven.fail(job, reason="boom")
    assert [driven.state(job_id) for job_id in (waiting, running)] == ["failed", "failed"]
    assert outbox(driven) == []


def test_job_that_merely_says_revoked_is_noted(driven: DrivenQueue) -> None:
    configure(driven)
    job_id = driven.add()
    driven.fail(driven.start_one(), reason="revoked")
    assert reasons(driven) == [(job_id, "revoked")]


def test_retry_is_no_end(driven: DrivenQueue) -> None:
    configure(driven)
    driven.add()
    driven.fail(driven.start_one(), max_attempts=2)
    assert outbox(driven) == []
    driven.fail(driven.start_one(), max_attempts=2)
    assert len(outbox(driven)) == 1


def test_letter_holds_what_the_job_was_even_if_the_job_is_removed_at_once(driven: DrivenQueue) -> None:
    configure(driven)
    driven.add("greet", '{"a":1}', '{"attempts":2,"removeOnFail":true}')
    driven.fail(driven.start_one(), max_attempts=2)
    job = driven.start_one()
    reply = driven.call("fail", rows=[[*job.fence, job.entry_id, "boom", 2, 0, True, "ValueError"]])
    assert reply[2] == [[6, 2]]
    assert driven.job(job.id) == {}
    assert outbox(driven) == [
        {
            "to": DLQ, "job": "1", "name": "greet", "data": '{"a":1}', "reason": "boom", "error": "ValueError",
            "opts": '{"attempts":2,"removeOnFail":true}', "attempts": "1", "at": str(driven.now),
        }
    ]  # fmt: skip


def test_refused_outcome_notes_nothing(driven: DrivenQueue) -> None:
    configure(driven)
    driven.add()
    job = driven.start_one()
    driven.fail(job)
    assert driven.fail(job) == [[2, 1]]
    assert len(outbox(driven)) == 1


@pytest.mark.parametrize("name", ["a{b", "a:b", ""])
def test_name_that_is_none_counts_as_not_configured(driven: DrivenQueue, name: str) -> None:
    driven.client.hset(driven.key("meta"), "deadLetterQueueName", name)
    fail_one(driven)
    assert outbox(driven) == []


def test_outbox_that_nobody_empties_loses_the_oldest_letters_and_counts_them(driven: DrivenQueue) -> None:
    configure(driven)
    fill = "for _ = 1, 100000 do redis.call('XADD', KEYS[1], '*', 'job', 'old') end"
    driven.client.eval(fill, 1, driven.key("x-py:dead-letters"))
    for lost in (1, 2):
        fail_one(driven)
        assert driven.client.xlen(driven.key("x-py:dead-letters")) == 100_000
        assert take(driven, limit=1)[4] == lost
