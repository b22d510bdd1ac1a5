"""gmq_extend_leases: a heartbeat renews what its sender holds, and nothing else."""

from __future__ import annotations

from tests.lua.driven_queue import START_MS, DrivenQueue


def test_heartbeat_renews_last_active_only(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    before = driven.job("1")
    driven.pass_time(5000)
    assert driven.extend(job) == [1]
    assert driven.job("1") == {**before, "lastActive": str(START_MS + 5000)}


def test_heartbeat_of_a_list_job_moves_its_place_too(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    job = driven.start_one()
    driven.pass_time(5000)
    driven.extend(job)
    assert driven.members("x-py:active:c1") == {"1": START_MS + 5000}


def test_revoked_job_is_renewed_and_its_holder_told(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.client.hset(driven.key("job:1"), "revoked", "1")
    driven.pass_time(1)
    assert driven.extend(job) == [7]
    assert driven.field("1", "lastActive") == str(driven.now)


def test_each_row_gets_its_own_answer(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row() for _ in range(4)])
    held, finished, removed, lost = driven.start(4)
    driven.complete(finished)
    driven.client.delete(driven.key(f"job:{removed.id}"))
    assert driven.extend(held, finished, removed, lost._replace(token="x")) == [1, 2, 3, 4]


def test_heartbeat_does_not_bring_a_removed_job_back(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.client.delete(driven.key("job:1"))
    driven.extend(job)
    assert driven.job("1") == {}


def test_late_heartbeat_does_not_take_a_job_back(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.pass_time(60_000)
    assert driven.recover_stalled() == {"1": "stalled"}
    before = driven.snapshot()
    assert driven.extend(job) == [4]
    assert driven.snapshot() == before


def test_list_job_that_left_does_not_reappear(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    job = driven.start_one()
    driven.client.zrem(driven.key("x-py:active:c1"), "1")
    driven.extend(job)
    assert driven.members("x-py:active:c1") == {}


def test_malformed_rows_are_refused(driven: DrivenQueue) -> None:
    assert driven.call("extend_leases", rows=[["1", "t"]])[0] == b"bad_argument"


def test_run_that_is_to_end_by_force_is_told_in_how_many_ms(driven: DrivenQueue) -> None:
    driven.add()
    driven.add()
    first, second = driven.start(2)
    driven.call("revoke", id=second.id, force_after_ms=1500)
    driven.pass_time(1000)
    rows = [first.fence, second.fence]
    assert driven.call("extend_leases", rows=rows) == [b"ok", driven.now, [1, 7], [[2, 500]]]
    driven.pass_time(1000)
    assert driven.call("extend_leases", rows=rows)[3] == [[2, 0]]
