"""move_to_delayed: a running job stops and goes on later; only its holder can say so, and only once."""

from __future__ import annotations

import pytest

from glidemq.commands.move_to_delayed import MoveResult, MoveRow, MoveToDelayedCommand
from glidemq.errors import ValidationError
from tests.lua.driven_queue import DrivenQueue, Started
from tests.lua.executed import execute

SHIFT = 2**42


def row_of(job: Started, until_ms: int, data: bytes | None = None) -> bytes:
    return MoveRow.pack(
        job.id.encode(), job.token.encode(), job.processed_on, job.entry_id.encode(), until_ms, data
    )


def move(driven: DrivenQueue, *rows: bytes) -> MoveResult:
    return execute(driven, MoveToDelayedCommand(driven.key("meta"), rows=rows))


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}, {"priority": 4}])
def test_running_job_goes_on_at_its_time_without_an_attempt(
    driven: DrivenQueue, kind: dict[str, int]
) -> None:
    driven.add(**kind)
    job = driven.start_one()
    driven.pass_time(100)
    until_ms = driven.now + 5_000
    result = move(driven, row_of(job, until_ms))
    assert (result.now_ms, result.outcomes, result.next_due_ms) == (driven.now, [1], until_ms)
    assert driven.members("scheduled") == {"1": kind.get("priority", 0) * SHIFT + until_ms}
    stored = driven.job("1")
    assert (stored["state"], stored["delay"], stored["attemptsMade"]) == ("delayed", "5000", "0")
    assert stored["data"] == "{}"
    assert driven.entries() == [] and driven.pending() == {} and driven.list_active() == 0
    assert driven.events()[-1] == {"event": "delay-changed", "jobId": "1", "delay": "5000"}
    assert driven.step(1).ids == []
    driven.pass_time(5_000)
    assert driven.step(1).ids == ["1"]


def test_next_step_s_data_is_stored_in_the_same_call(driven: DrivenQueue) -> None:
    driven.add(data='{"a":1}')
    job = driven.start_one()
    move(driven, row_of(job, driven.now + 10, b'{"a":1,"step":"two"}'))
    assert driven.field("1", "data") == '{"a":1,"step":"two"}'


def test_a_time_in_the_past_means_now(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    result = move(driven, row_of(job, 0))
    assert driven.field("1", "delay") == "0"
    assert result.next_due_ms == driven.now
    assert driven.step(1).ids == ["1"]


def test_repeated_call_moves_nothing_more(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    row = row_of(job, driven.now + 10)
    move(driven, row)
    before = driven.snapshot()
    assert move(driven, row).outcomes == [2]
    assert driven.snapshot() == before
    driven.pass_time(10)
    again = driven.start_one()
    assert move(driven, row).outcomes == [4]
    assert driven.complete(again) == [1]


def test_job_whose_lease_was_lost_is_left_alone(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.pass_time(60_000)
    driven.recover_stalled()
    before = driven.snapshot()
    assert move(driven, row_of(job, driven.now + 10, b"{}")).outcomes == [4]
    assert driven.snapshot() == before


def test_removed_job_is_gone_and_its_entry_is_dropped(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.client.delete(driven.key("job:1"))
    assert move(driven, row_of(job, driven.now + 10)).outcomes == [3]
    assert driven.entries() == []
    assert driven.members("scheduled") == {}


def test_revoked_job_fails_instead_of_going_on(driven: DrivenQueue) -> None:
    driven.add(opts='{"removeOnFail":10}')
    job = driven.start_one()
    driven.call("revoke", id="1")
    assert move(driven, row_of(job, driven.now + 10, b'{"next":1}')).outcomes == [6]
    assert (driven.state("1"), driven.field("1", "failedReason")) == ("failed", "revoked")
    assert driven.field("1", "data") == "{}"
    assert driven.members("scheduled") == {}
    assert driven.events()[-1]["event"] == "failed"


def test_many_jobs_move_in_one_call_each_judged_alone(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row() for _ in range(3)])
    jobs = driven.start(3)
    driven.complete(jobs[1])
    rows = [row_of(job, driven.now + 10) for job in jobs]
    assert move(driven, *rows).outcomes == [1, 2, 1]
    assert set(driven.members("scheduled")) == {"1", "3"}


def test_events_can_be_left_out(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.call("move_to_delayed", rows=[[*job.fence, job.entry_id, driven.now + 10, False]], events=False)
    assert driven.events_of("1") == ["added"]


def test_a_time_that_would_change_the_priority_is_refused_before_anything_moves(driven: DrivenQueue) -> None:
    with pytest.raises(ValidationError, match="Timestamp"):
        MoveRow.pack(b"1", b"t", 1, b"", SHIFT)
    driven.enqueue(driven.row(), driven.row())
    first, second = driven.start(2)
    before = driven.snapshot()
    rows = [[*first.fence, first.entry_id, 5, False], [*second.fence, second.entry_id, SHIFT, False]]
    status, fault = driven.call("move_to_delayed", rows=rows)
    assert (status, fault) == (b"bad_argument", b"row 2: until_ms is out of range")
    assert driven.snapshot() == before
