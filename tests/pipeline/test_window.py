"""How far the window opens: by Little's law, never on a guess."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from glidemq.pipeline.window import (
    MAX_AHEAD_PER_ACTOR,
    MAX_NAMES,
    SAMPLES_TO_RELEARN,
    SAMPLES_TO_TRUST,
    ServiceTimes,
)

MS = 1_000_000
WAIT_NS = 20 * MS


def trained(name: bytes = b"a", service_ns: int = 2 * MS, samples: int = 50) -> ServiceTimes:
    times = ServiceTimes()
    for _ in range(samples):
        times.record(name, service_ns)
    return times


def test_unknown_jobs_are_never_prefetched() -> None:
    assert ServiceTimes().ahead(4, WAIT_NS) == 0


def test_a_name_is_trusted_only_after_enough_samples() -> None:
    times = ServiceTimes()
    for _ in range(SAMPLES_TO_TRUST - 1):
        times.record(b"a", MS)
        assert times.ahead(1, WAIT_NS) == 0
    times.record(b"a", MS)
    assert times.ahead(1, WAIT_NS) == 20


def test_short_jobs_fill_the_allowed_wait_on_every_actor() -> None:
    assert trained(service_ns=2 * MS).ahead(2, WAIT_NS) == 20


def test_jobs_longer_than_the_allowed_wait_are_not_prefetched() -> None:
    assert trained(service_ns=30_000 * MS).ahead(8, WAIT_NS) == 0


def test_the_slowest_recent_name_decides_for_a_mixed_queue() -> None:
    times = trained(b"fast", MS)
    for _ in range(10):
        times.record(b"slow", 10 * MS)
    assert times.ahead(1, WAIT_NS) == 2


def test_a_name_not_seen_for_long_no_longer_holds_the_window_down() -> None:
    times = trained(b"slow", 1_000 * MS, samples=10)
    for _ in range(ServiceTimes.RECENT + 1):
        times.record(b"fast", MS)
    assert times.ahead(1, WAIT_NS) == 20


def test_after_a_take_back_nothing_is_prefetched_until_the_name_is_relearned() -> None:
    times = trained()
    times.distrust(b"a")
    for _ in range(SAMPLES_TO_RELEARN - 1):
        times.record(b"a", MS)
        assert times.ahead(1, WAIT_NS) == 0
    times.record(b"a", MS)
    assert times.ahead(1, WAIT_NS) > 0


@given(
    st.lists(st.tuples(st.binary(max_size=4), st.integers(0, 10**12)), max_size=200),
    st.integers(0, 64),
    st.integers(0, 10**9),
)
def test_the_window_is_bounded_whatever_is_measured(
    samples: list[tuple[bytes, int]], actors: int, wait_ns: int
) -> None:
    times = ServiceTimes()
    for name, service_ns in samples:
        times.record(name, service_ns)
    assert 0 <= times.ahead(actors, wait_ns) <= MAX_AHEAD_PER_ACTOR * actors


def test_job_names_chosen_by_users_do_not_grow_the_table_without_bound() -> None:
    times = ServiceTimes()
    for number in range(10 * MAX_NAMES):
        times.record(str(number).encode(), MS)
    assert len(times._estimates) == MAX_NAMES
