"""suspend: a running job stops until a signal comes or its time is over; only its holder can say so, and only once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from glidemq.commands.signal import SignalCommand
from glidemq.commands.suspend import SuspendCommand, SuspendResult, SuspendRow
from tests.lua.driven_queue import DrivenQueue, Started
from tests.lua.executed import execute
from tests.lua.grouped_queue import GroupedQueue

NEVER = 9999999999999
SUSPENDED, ALREADY, GONE, LEASE_LOST, FAILED = 1, 2, 3, 4, 6


def row_of(job: Started, reason: str | None = None, timeout_ms: int = 0) -> bytes:
    fence = (job.id.encode(), job.token.encode(), job.processed_on, job.entry_id.encode())
    return SuspendRow.pack(*fence, reason, timeout_ms)


def suspend(driven: DrivenQueue, *rows: bytes) -> SuspendResult:
    return execute(driven, SuspendCommand(driven.key("meta"), rows=rows))


def signal(driven: DrivenQueue, job_id: str, name: str = "go", data: bytes = b"") -> str:
    return execute(driven, SignalCommand(driven.key("meta"), job_id=job_id, name=name, data=data))


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}, {"priority": 4}])
def test_suspended_job_stands_where_every_runtime_looks_for_it(
    driven: DrivenQueue, kind: dict[str, int]
) -> None:
    driven.add(**kind)
    job = driven.start_one()
    driven.pass_time(100)
    result = suspend(driven, row_of(job, "look at it", 5_000))
    assert (result.now_ms, result.outcomes, result.next_due_ms) == (
        driven.now,
        [SUSPENDED],
        driven.now + 5_000,
    )
    stored = driven.job("1")
    assert stored["state"] == "suspended"
    assert stored["suspendedAt"] == str(driven.now)
    assert (stored["suspendReason"], stored["suspendTimeout"]) == ("look at it", "5000")
    assert stored["attemptsMade"] == "0"
    assert driven.members("suspended") == {"1": driven.now + 5_000}
    assert driven.entries() == [] and driven.pending() == {}
    assert driven.list_active() == 0 and driven.members("x-py:active:c1") == {}
    assert driven.events()[-1] == {"event": "suspended", "jobId": "1"}


def test_job_without_a_timeout_waits_for_ever(driven: DrivenQueue) -> None:
    driven.add()
    result = suspend(driven, row_of(driven.start_one()))
    assert driven.members("suspended") == {"1": NEVER}
    assert result.next_due_ms == -1
    stored = driven.job("1")
    assert "suspendReason" not in stored and "suspendTimeout" not in stored
    driven.pass_time(10**10)
    assert driven.promote_due() == (0, 0, -1)
    assert driven.state("1") == "suspended"


def test_reason_and_timeout_of_an_earlier_wait_are_forgotten(driven: DrivenQueue) -> None:
    driven.add()
    suspend(driven, row_of(driven.start_one(), "first", 5_000))
    signal(driven, "1")
    suspend(driven, row_of(driven.start_one()))
    stored = driven.job("1")
    assert "suspendReason" not in stored and "suspendTimeout" not in stored


def test_suspended_job_frees_its_place(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("meta"), "globalConcurrency", 1)
    driven.enqueue(driven.row(), driven.row())
    job = driven.start_one()
    assert driven.step(5).ids == []
    suspend(driven, row_of(job))
    assert driven.step(5).ids == ["2"]


def test_next_run_is_told_of_which_run_it_is_the_continuation_and_others_of_theirs(
    driven: DrivenQueue,
) -> None:
    driven.add()
    first = driven.start_one()
    assert "x-py:waited" not in first.extras
    suspend(driven, row_of(first))
    signal(driven, "1")
    second = driven.start_one()
    assert second.extras["x-py:waited"] == f"-{first.token}"
    driven.release(second)  # it has not begun
    third = driven.start_one()
    assert third.extras["x-py:waited"] == f"-{first.token}"
    suspend(driven, row_of(third))
    signal(driven, "1")
    fourth = driven.start_one()
    assert fourth.extras["x-py:waited"] == f"-{third.token}"
    driven.call("move_to_delayed", rows=[[*fourth.fence, fourth.entry_id, driven.now, False]])
    assert driven.start_one().extras["x-py:waited"] == ""


def test_signals_that_came_early_are_taken_up_in_the_same_call(driven: DrivenQueue) -> None:
    driven.add(name="ask")
    job = driven.start_one()
    assert signal(driven, "1", "one", b'{"n":1}') == "kept"
    driven.pass_time(5)
    assert signal(driven, "1", "two") == "kept"
    assert "signals" not in driven.job("1")
    driven.pass_time(5)
    assert suspend(driven, row_of(job, "why", 1_000)).outcomes == [SUSPENDED]
    stored = driven.job("1")
    assert stored["state"] == "waiting"
    assert "x-py:signals" not in stored
    received = [driven.now - 10, driven.now - 5]
    expected = [
        {"name": "one", "data": '{"n":1}', "receivedAt": received[0]},
        {"name": "two", "data": "", "receivedAt": received[1]},
    ]
    assert json.loads(stored["signals"]) == expected
    assert [json.loads(entry) for entry in driven.elements("signals:1")] == expected
    assert driven.members("suspended") == {}
    assert driven.events()[-2:] == [
        {"event": "suspended", "jobId": "1"},
        {"event": "resumed", "jobId": "1", "signal": "one"},
    ]
    again = driven.start_one()
    assert (again.id, again.name, again.blob[5]) == ("1", "ask", 0)
    assert json.loads(again.extras["signals"]) == expected


def test_repeated_call_suspends_nothing_more(driven: DrivenQueue) -> None:
    driven.add()
    row = row_of(driven.start_one(), None, 1_000)
    suspend(driven, row)
    before = driven.snapshot()
    driven.pass_time(1)
    assert suspend(driven, row).outcomes == [ALREADY]
    assert driven.snapshot() == before
    signal(driven, "1")
    again = driven.start_one()
    assert suspend(driven, row).outcomes == [LEASE_LOST]
    assert driven.complete(again) == [1]


def test_later_outcomes_of_the_suspended_run_are_settled_already(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    suspend(driven, row_of(job))
    before = driven.snapshot()
    assert driven.complete(job) == [ALREADY]
    assert driven.fail(job, max_attempts=3) == [[ALREADY, 0]]
    assert driven.release(job) == [ALREADY]
    assert driven.extend(job) == [ALREADY]
    assert driven.recover_orphans() == []
    driven.pass_time(60_000)
    assert driven.recover_stalled() == {}
    assert driven.snapshot() == before


def test_lost_lease_and_missing_job_suspend_nothing(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    first, second = driven.start(2)
    driven.client.delete(driven.key("job:2"))
    rows = [row_of(first._replace(token="x")), row_of(second)]
    assert suspend(driven, *rows).outcomes == [LEASE_LOST, GONE]
    assert driven.members("suspended") == {}
    assert driven.entries() == ["1"]


@pytest.mark.parametrize("removed", [False, True])
def test_revoked_job_fails_instead_of_waiting(driven: DrivenQueue, removed: bool) -> None:
    driven.add(opts='{"removeOnFail":true}' if removed else "{}")
    job = driven.start_one()
    driven.call("revoke", id="1")
    assert suspend(driven, row_of(job)).outcomes == [FAILED]
    assert driven.members("suspended") == {}
    assert driven.field("1", "failedReason") == (None if removed else "revoked")


def test_suspended_job_can_be_revoked_and_removed(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    suspend(driven, *[row_of(job) for job in driven.start(2)])
    signal(driven, "2")
    again = driven.start_one()
    suspend(driven, row_of(again))
    assert driven.call("revoke", id="1") == [b"revoked", False]
    assert (driven.state("1"), driven.field("1", "failedReason")) == ("failed", "revoked")
    assert driven.call("remove", id="2") == [b"ok", False]
    assert driven.members("suspended") == {}
    assert "signals:2" not in driven.suffixes()
    assert signal(driven, "1") == "finished"
    assert signal(driven, "2") == "not_found"


def test_drain_and_clean_leave_suspended_jobs_alone_and_obliterate_does_not(driven: DrivenQueue) -> None:
    driven.add()
    suspend(driven, row_of(driven.start_one()))
    signal(driven, "1", "kept?")
    suspend(driven, row_of(driven.start_one()))
    driven.call("drain", delayed=True)
    driven.call("clean", state="failed", grace_ms=0, limit=10)
    driven.call("clean", state="completed", grace_ms=0, limit=10)
    assert driven.state("1") == "suspended"
    assert driven.call("get_counts")[1][b"suspended"] == 1
    assert driven.call("get_counts")[1][b"active"] == 0
    cursor: dict[str, Any] = {}
    while (reply := driven.call("obliterate", force=False, limit=1000, **cursor))[0] == b"more":
        cursor = {"cursor": reply[2]}
    assert not driven.suffixes()


# -- groups -------------------------------------------------------------------------------------------------------


def test_ordered_job_keeps_its_turn_while_it_waits(grouped: GroupedQueue) -> None:
    first, second = grouped.join(2)
    suspend(grouped, row_of(grouped.start_one()))
    assert grouped.step(5).ids == []
    assert grouped.active() == 1
    signal(grouped, first)
    (again,) = grouped.step(5).started
    assert (again.id, grouped.active()) == (first, 1)
    assert grouped.step(5, complete=[grouped.completion(again)]).ids == [second]


def test_job_of_a_wider_group_lends_its_slot_while_it_waits(grouped: GroupedQueue) -> None:
    ids = grouped.join(4, concurrency=2)
    jobs = grouped.start(2)
    suspend(grouped, row_of(jobs[0]))
    assert grouped.active() == 1
    (third,) = grouped.step(5).started
    assert third.id == ids[2]
    signal(grouped, ids[0])
    assert grouped.step(5).ids == []  # its slot is taken: it waits for one like the others
    assert ids[0] in grouped.parked()
    (next_one,) = grouped.step(5, complete=[grouped.completion(third)]).started
    assert next_one.id == ids[0]
    assert grouped.active() == 2
    done = [grouped.completion(next_one), grouped.completion(jobs[1])]
    assert grouped.step(5, complete=done).ids == [ids[3]]


@pytest.mark.parametrize("concurrency", [1, 2])
def test_group_goes_on_when_a_waiting_job_runs_out_of_time(grouped: GroupedQueue, concurrency: int) -> None:
    ids = grouped.join(3, concurrency=concurrency)
    job = grouped.start_one()
    suspend(grouped, row_of(job, None, 1_000))
    grouped.pass_time(1_000)
    rest = grouped.work_off()
    assert rest == ids[1:]
    assert grouped.active() == 0
    assert grouped.field(job.id, "failedReason") == "Suspend timeout exceeded"


# -- deadlines ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tick", ["step", "promote_due"])
def test_any_tick_ends_a_wait_whose_time_is_over_without_a_retry(driven: DrivenQueue, tick: str) -> None:
    driven.add(attempts=5, opts='{"attempts":5}')
    suspend(driven, row_of(driven.start_one(), None, 1_000))

    def look() -> int:
        return driven.step(1).next_due if tick == "step" else driven.promote_due()[2]

    driven.pass_time(999)
    assert look() == driven.now + 1
    assert driven.state("1") == "suspended"
    driven.pass_time(1)
    assert look() == -1
    stored = driven.job("1")
    assert (stored["state"], stored["failedReason"]) == ("failed", "Suspend timeout exceeded")
    assert stored["finishedOn"] == stored["processedOn"] == str(driven.now)
    assert stored["x-py:started"] == f"{driven.now}:{driven.now - 1_000}"
    assert stored["attemptsMade"] == "0"
    assert driven.members("suspended") == {}
    assert driven.members("failed") == {"1": driven.now}
    assert driven.events()[-1] == {
        "event": "failed",
        "jobId": "1",
        "failedReason": "Suspend timeout exceeded",
    }
    assert sum(driven.metrics("failed").values()) == 1
    assert signal(driven, "1") == "finished"


def test_options_of_the_job_decide_whether_it_stays_after_its_time(driven: DrivenQueue) -> None:
    driven.add(opts='{"removeOnFail":true}')
    suspend(driven, row_of(driven.start_one(), None, 10))
    driven.pass_time(10)
    driven.promote_due()
    assert driven.job("1") == {}


def test_a_hundred_waits_end_per_call_and_the_reply_asks_for_another(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row()] * 150)
    suspend(driven, *[row_of(job, None, 10) for job in driven.start(150)])
    driven.pass_time(10)
    assert driven.promote_due()[2] == driven.now
    assert len(driven.members("suspended")) == 50
    assert driven.promote_due()[2] == -1
    assert len(driven.members("failed")) == 150


def test_member_that_is_no_suspended_job_is_only_taken_out(driven: DrivenQueue) -> None:
    driven.add(delay=60_000)
    driven.client.zadd(driven.key("suspended"), {"1": driven.now, "missing": driven.now})
    driven.promote_due()
    assert driven.members("suspended") == {}
    assert driven.state("1") == "delayed"
    assert driven.job("missing") == {}


def test_suspension_of_another_runtime_is_ended_too(driven: DrivenQueue) -> None:
    fields = {"state": "suspended", "suspendedAt": "5", "suspendTimeout": "5"}
    driven.add_scored("suspended", "n", driven.now - 1, **fields)
    driven.step(1)
    assert driven.field("n", "failedReason") == "Suspend timeout exceeded"


@pytest.mark.parametrize("timeout_ms", [-1, 2**42])
def test_a_time_out_of_range_is_refused_before_anything_moves(driven: DrivenQueue, timeout_ms: int) -> None:
    driven.enqueue(driven.row(), driven.row())
    first, second = driven.start(2)
    before = driven.snapshot()
    rows = [
        [*first.fence, first.entry_id, False, 5],
        [*second.fence, second.entry_id, "r", timeout_ms],
    ]
    assert driven.call("suspend", rows=rows) == [b"bad_argument", b"row 2: timeout_ms is out of range"]
    assert driven.snapshot() == before


def test_events_can_be_left_out(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.call("suspend", rows=[[*job.fence, job.entry_id, False, 0]], events=False)
    assert driven.events_of("1") == ["added"]
