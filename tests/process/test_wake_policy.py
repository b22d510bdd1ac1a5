"""An actor wakes its gateway rarely, and never too late."""

from __future__ import annotations

from glidemq.process.wake_policy import ENOUGH_HELD, LONGEST_HOLD_NS, REFILL_NS, WakePolicy

MS = 1_000_000
PLENTY = 1_000_000


def finish(
    policy: WakePolicy, now_ns: int, service_ns: int, *, urgent: bool = False, waiting: int = PLENTY
) -> bool:
    return policy.finished(now_ns, service_ns, urgent=urgent, waiting_bytes=waiting, record_bytes=300)


def test_short_jobs_share_one_wake() -> None:
    policy = WakePolicy()
    wakes = [finish(policy, n * 10_000, 10_000) for n in range(ENOUGH_HELD)]
    assert wakes.index(True) >= 8


def test_enough_held_jobs_wake() -> None:
    policy = WakePolicy()
    policy.mean_ns = MS
    assert [finish(policy, 0, MS) for _ in range(ENOUGH_HELD)][-1]


def test_an_urgent_outcome_wakes_at_once() -> None:
    assert finish(WakePolicy(), 0, 10_000, urgent=True)


def test_an_empty_ring_wakes_at_once() -> None:
    assert finish(WakePolicy(), 0, 10_000, waiting=0)


def test_little_unstarted_work_wakes_in_time_for_a_refill() -> None:
    policy = WakePolicy()
    policy.mean_ns = 2 * MS
    assert finish(policy, 2 * REFILL_NS, 2 * MS, waiting=300)
    policy.woken(0)
    assert not finish(policy, 0, 2 * MS, waiting=300 * 20)


def test_a_gateway_that_was_woken_for_a_refill_is_left_to_it() -> None:
    policy = WakePolicy()
    policy.mean_ns = MS
    policy.woken(0)
    assert not finish(policy, REFILL_NS, MS, waiting=300)
    assert finish(policy, REFILL_NS + 1, MS, waiting=300)


def test_a_report_never_waits_behind_a_long_job() -> None:
    policy = WakePolicy()
    policy.mean_ns = 2 * LONGEST_HOLD_NS
    assert finish(policy, 0, LONGEST_HOLD_NS)


def test_after_a_wake_nothing_is_held() -> None:
    policy = WakePolicy()
    finish(policy, 0, 10_000)
    policy.woken(0)
    assert policy.held == 0
