"""gmq_recover_stalled: dead hosts' jobs run again, live ones are left alone."""

from __future__ import annotations

import pytest

from tests.lua.driven_queue import DrivenQueue

LOCK = 30_000


def test_stalled_stream_job_waits_again_as_the_wire_format_says(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row("slow"), driven.row())
    job = driven.start_one()
    driven.pass_time(LOCK)
    assert driven.recover_stalled() == {"1": "stalled"}
    stored = driven.job("1")
    assert (stored["state"], stored["stalledCount"], stored["attemptsMade"]) == ("waiting", "1", "0")
    assert "processedOn" not in stored
    assert "lastActive" not in stored
    assert driven.entries() == ["2", "1"]
    assert driven.pending() == {}
    assert driven.events_of("1") == ["added", "stalled"]
    assert driven.complete(job) == [4]


def test_live_job_is_neither_touched_nor_taken(driven: DrivenQueue) -> None:
    driven.add()
    driven.start_one()
    driven.pass_time(LOCK - 1)
    before = driven.snapshot()
    assert driven.recover_stalled() == {}
    assert driven.snapshot() == before


def test_heartbeat_keeps_a_job_alive(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row(lifo=1))
    jobs = driven.start(2)
    for _ in range(5):
        driven.pass_time(LOCK - 1)
        assert driven.extend(*jobs) == [1, 1]
        assert driven.recover_stalled() == {}


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}])
def test_second_stall_is_the_end(driven: DrivenQueue, kind: dict[str, int]) -> None:
    driven.add(**kind)
    for expected in ("stalled", "failed"):
        driven.start_one()
        driven.pass_time(LOCK)
        assert driven.recover_stalled(max_stalled=1) == {"1": expected}
    stored = driven.job("1")
    assert (stored["state"], stored["failedReason"]) == ("failed", "job stalled more than maxStalledCount")
    assert stored["finishedOn"] == str(driven.now)
    assert driven.members("failed") == {"1": driven.now}
    assert driven.metrics("failed")[f"m:{driven.now - driven.now % 60_000}:c"] == 1
    assert driven.entries() == []
    assert driven.list_active() == 0
    assert driven.events_of("1")[-1] == "failed"


@pytest.mark.parametrize("kind", [{"lifo": 1}, {"priority": 3}])
def test_stalled_list_job_is_popped_next(driven: DrivenQueue, kind: dict[str, int]) -> None:
    driven.enqueue(driven.row(**kind), driven.row(**kind))
    job = driven.start_one()
    driven.pass_time(LOCK)
    assert driven.recover_stalled() == {job.id: "stalled"}
    assert driven.list_active() == 0
    assert driven.members("x-py:active:c1") == {}
    assert driven.step(1).ids == [job.id]


def test_jobs_own_lock_wins_over_the_workers(driven: DrivenQueue) -> None:
    driven.add(opts='{"lockDuration":60000}')
    driven.add(opts='{"lockDuration":2000}')
    driven.add(opts='{"lockDuration":5}')  # below the allowed range: the worker's counts
    driven.start(3)
    driven.pass_time(2000)
    assert driven.recover_stalled() == {"2": "stalled"}
    driven.pass_time(LOCK - 2000)
    assert driven.recover_stalled() == {"3": "stalled"}
    driven.pass_time(LOCK)
    assert driven.recover_stalled() == {"1": "stalled"}


def test_shortest_lock_of_the_live_is_told(driven: DrivenQueue) -> None:
    arguments = {
        "consumer": "c9", "cell": "c9", "stalled_ms": 0, "lock_ms": LOCK, "max_stalled": 1, "limit": 100,
        "cursor": "",
    }  # fmt: skip
    assert driven.call("recover_stalled", **arguments)[4] == -1
    driven.add()
    driven.add(opts='{"lockDuration":4000}')
    driven.start(2)
    assert driven.call("recover_stalled", **arguments)[4] == 4000


def test_expired_job_is_failed_only_once_its_host_is_dead(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(ttl=1000), driven.row(ttl=1000, lifo=1))
    jobs = driven.start(2)
    driven.pass_time(LOCK - 1)
    assert driven.recover_stalled() == {}
    driven.extend(*jobs)
    driven.pass_time(LOCK)
    assert driven.recover_stalled() == {"1": "expired", "2": "expired"}
    assert driven.state("1") == driven.state("2") == "failed"
    assert driven.field("1", "stalledCount") is None
    assert driven.list_active() == 0
    assert [driven.complete(job) for job in jobs] == [[4], [4]]


def test_entry_whose_job_is_gone_is_dropped_without_a_stub(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row(lifo=1))
    driven.start(2)
    driven.client.delete(driven.key("job:1"), driven.key("job:2"))
    driven.pass_time(LOCK)
    assert driven.recover_stalled() == {"1": "dropped", "2": "dropped"}
    assert driven.job("1") == driven.job("2") == {}
    assert driven.entries() == []


def test_stub_left_by_a_late_heartbeat_is_never_run(driven: DrivenQueue) -> None:
    driven.add()
    driven.start_one()
    driven.client.delete(driven.key("job:1"))
    driven.client.hset(driven.key("job:1"), "lastActive", "5")
    driven.pass_time(LOCK)
    assert driven.recover_stalled() == {"1": "dropped"}
    assert driven.job("1") == {"lastActive": "5"}


def test_entry_of_a_job_that_finished_elsewhere_is_dropped(driven: DrivenQueue) -> None:
    driven.add()
    driven.start_one()
    driven.client.hset(driven.key("job:1"), "state", "completed")
    driven.pass_time(LOCK)
    assert driven.recover_stalled() == {"1": "dropped"}
    assert driven.state("1") == "completed"


def test_delivered_entry_that_was_never_started_returns_uncharged(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    driven.create_group()
    driven.read_as_node("dead-reader")
    assert driven.recover_stalled(stalled_ms=60_000) == {}
    assert driven.recover_stalled(stalled_ms=0) == {"1": "returned"}
    assert driven.field("1", "stalledCount") is None
    assert driven.step(2).ids == ["1", "2"]


def test_last_heartbeat_of_an_earlier_run_does_not_condemn_a_fresh_delivery(driven: DrivenQueue) -> None:
    driven.add()
    driven.fail(driven.start_one(), max_attempts=2)
    driven.read_as_node("reader")
    driven.pass_time(10 * LOCK)
    assert driven.recover_stalled(stalled_ms=60_000) == {}


def test_jobs_given_back_are_not_stalled(driven: DrivenQueue) -> None:
    driven.add()
    driven.release(driven.start_one())
    driven.pass_time(10 * LOCK)
    assert driven.recover_stalled() == {}
    assert driven.field("1", "stalledCount") is None


def test_list_job_that_node_took_back_is_forgotten_without_a_second_count(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(lifo=1), driven.row(lifo=1))
    driven.start(2)
    # Node's list reclaim: state, list and counter.
    driven.client.hset(driven.key("job:1"), "state", "waiting")
    driven.client.hdel(driven.key("job:1"), "processedOn", "lastActive")
    driven.client.rpush(driven.key("lifo"), "1")
    driven.client.decr(driven.key("list-active"))
    driven.pass_time(LOCK)
    assert driven.recover_stalled() == {"1": "dropped", "2": "stalled"}
    assert driven.list_active() == 0
    assert driven.elements("lifo") == ["1", "2"]


def test_pages_cover_all_hosts_and_cells(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row() for _ in range(20)], *[driven.row(lifo=1) for _ in range(20)])
    for consumer in ("c1", "c2", "c3", "c4"):
        driven.start(10, consumer=consumer)
    driven.pass_time(LOCK)
    recovered = driven.recover_stalled(limit=3)
    assert recovered == {str(n): "stalled" for n in range(1, 41)}
    assert driven.list_active() == 0
    assert driven.members("x-py:cells") == {}


def test_pages_step_over_the_living(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row(lifo=1, opts='{"lockDuration":90000}') for _ in range(10)])
    driven.enqueue(*[driven.row(lifo=1) for _ in range(10)])
    driven.start(20)
    driven.pass_time(LOCK)
    recovered = driven.recover_stalled(limit=3)
    assert recovered == {str(n): "stalled" for n in range(11, 21)}
    assert driven.list_active() == 10


def test_empty_queue_has_nothing_stalled(driven: DrivenQueue) -> None:
    assert driven.recover_stalled() == {}


def test_call_that_comes_too_late_judges_nobody(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row(lifo=1))
    driven.start(2)
    driven.pass_time(LOCK)
    before = driven.snapshot()
    assert driven.recover_stalled(not_after=driven.now - 1) == {}
    assert driven.snapshot() == before
    assert driven.recover_stalled(not_after=driven.now) == {"1": "stalled", "2": "stalled"}
