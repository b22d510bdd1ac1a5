"""gmq_promote_due: due jobs become ready, prioritized ones only as far as asked."""

from __future__ import annotations

from tests.lua.driven_queue import START_MS, DrivenQueue

SHIFT = 2**42


def test_due_job_moves_to_the_stream(driven: DrivenQueue) -> None:
    driven.add("later", delay=100)
    driven.pass_time(100)
    assert driven.promote_due() == (1, 0, -1)
    assert driven.state("1") == "waiting"
    assert driven.entries() == ["1"]
    assert driven.client.xrange(driven.key("stream"))[0][1] == {b"jobId": b"1", b"name": b"later"}
    assert driven.events_of("1") == ["added", "promoted"]
    assert driven.members("scheduled") == {}


def test_each_kind_goes_to_its_own_place(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(delay=1), driven.row(delay=1, lifo=1), driven.row(delay=1, priority=4))
    driven.enqueue(driven.row(delay=1, priority=4, lifo=1))
    driven.pass_time(1)
    assert driven.promote_due()[0] == 4
    assert driven.entries() == ["1"]
    assert driven.elements("lifo") == ["2", "4"]  # the lifo mark is looked at first
    assert driven.elements("priority") == ["3"]


def test_classes_come_out_in_order_of_urgency(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row(priority=p) for p in (9, 1, 5)])
    driven.promote_due()
    assert driven.elements("priority") == ["1", "3", "2"]  # popped from the right


def test_limits_are_kept_apart(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row(delay=n) for n in range(1, 6)], *[driven.row(priority=2) for _ in range(5)])
    driven.pass_time(10)
    promoted, expired, next_due = driven.promote_due(2, 1)
    assert (promoted, expired) == (3, 0)
    assert next_due <= driven.now
    assert driven.entries() == ["1", "2"]
    assert driven.elements("priority") == ["6"]


def test_prioritized_jobs_without_slots_do_not_call_for_another_promotion(driven: DrivenQueue) -> None:
    driven.add(priority=3)
    assert driven.promote_due(10, 0) == (0, 0, -1)


def test_next_due_is_the_smallest_over_all_classes(driven: DrivenQueue) -> None:
    driven.enqueue(
        driven.row(delay=500), driven.row(delay=200, priority=7), driven.row(delay=300, priority=2)
    )
    assert driven.promote_due() == (0, 0, START_MS + 200)
    driven.add(priority=7)
    assert driven.promote_due(10, 0) == (0, 0, START_MS + 200)


def test_expired_job_fails(driven: DrivenQueue) -> None:
    driven.add(delay=100, ttl=50)
    driven.pass_time(100)
    assert driven.promote_due() == (0, 1, -1)
    assert driven.field("1", "failedReason") == "expired"
    assert driven.members("failed") == {"1": driven.now}


def test_member_without_a_job_leaves_no_trace(driven: DrivenQueue) -> None:
    driven.client.zadd(driven.key("scheduled"), {"ghost": 5})
    assert driven.promote_due() == (0, 0, -1)
    assert driven.job("ghost") == {}
    assert driven.entries() == []


def test_member_whose_job_is_elsewhere_is_dropped(driven: DrivenQueue) -> None:
    driven.add()
    driven.start_one()
    driven.client.zadd(driven.key("scheduled"), {"1": 5})
    driven.promote_due()
    assert driven.state("1") == "active"
    assert len(driven.entries()) == 1


def test_manual_retry_whose_state_comes_late_is_promoted(driven: DrivenQueue) -> None:
    driven.add()
    driven.fail(driven.start_one())
    # Node writes the score before the state.
    driven.client.zrem(driven.key("failed"), "1")
    driven.client.zadd(driven.key("scheduled"), {"1": driven.now})
    assert driven.promote_due()[0] == 1
    driven.client.hset(driven.key("job:1"), "state", "delayed")
    assert driven.step(1).ids == ["1"]


def test_broadcast_retry_keeps_its_subscription(driven: DrivenQueue) -> None:
    driven.hash("1", state="active")
    driven.client.zadd(driven.key("scheduled"), {"1||audit": 5})
    driven.promote_due()
    entry = driven.client.xrange(driven.key("stream"))[0][1]
    assert entry == {b"jobId": b"1", b"name": b"n", b"retryGroup": b"audit"}


def test_bell_rings_only_for_lists(driven: DrivenQueue) -> None:
    driven.add(delay=1)
    driven.pass_time(1)
    before = driven.rings()
    driven.promote_due()
    assert driven.rings() == before
    driven.add(priority=1)
    before = driven.rings()
    driven.promote_due()
    assert driven.rings() == before + 1


def test_ghosts_of_many_classes_are_all_visited(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row(priority=p, delay=p) for p in range(1, 301)])
    driven.pass_time(300)
    assert driven.promote_due() == (300, 0, -1)


def test_events_can_be_switched_off(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(priority=1), events=False)
    driven.call("promote_due", limit=1, prioritized_limit=1, events=False)
    assert driven.events() == []
