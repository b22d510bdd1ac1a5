"""The fence: of two processes that each store a word and load the other's, one sees the other's store."""

from __future__ import annotations

import array
import time
from collections.abc import Callable

import pytest

from glidemq.shared_memory import fence
from glidemq.shared_memory.segment import Segment
from tests.shared_memory.forked import Forked

MINE, THEIRS, STARTED = 0, 16, 32  # words, each on cache lines of its own
LOG = 4096
ROUNDS = 300_000


def run_side(
    segment: Segment, mine: int, theirs: int, log_at: int, between: Callable[[], None] | None
) -> None:
    """Store round after round, and log after each store which of the other side's was visible."""
    words = segment.words(0, 512)
    seen = array.array("Q", bytes(8 * ROUNDS))
    words[STARTED + mine // 16] = 1
    while not words[STARTED + theirs // 16]:
        pass
    if between is None:
        # Without even the call of an empty function, which takes longer than a store needs to become visible.
        for round_ in range(1, ROUNDS):
            words[mine] = round_
            seen[round_] = words[theirs]
    else:
        for round_ in range(1, ROUNDS):
            words[mine] = round_
            between()
            seen[round_] = words[theirs]
    segment.view(log_at, 8 * ROUNDS)[:] = memoryview(seen).cast("B")


def missed_each_other(first: memoryview, second: memoryview) -> int:
    """Rounds i, j in which the first did not see the second's store j, nor the second the first's store i."""
    return sum(1 for i in range(1, ROUNDS) if (j := first[i] + 1) < ROUNDS and second[j] < i)


def race(rare: Callable[[], None] | None, frequent: Callable[[], None] | None) -> tuple[int, int]:
    """How often the sides missed each other, and in how many rounds they ran at the same time."""
    size = LOG + 16 * ROUNDS
    created = Segment.create((size + 4095) & -4096, name="litmus")

    def child(mine: int, theirs: int, log_at: int, between: Callable[[], None] | None) -> Callable[[], None]:
        def run() -> None:
            segment = Segment.attach(created.fd, created.size)
            fence.register()
            run_side(segment, mine, theirs, log_at, between)

        return run

    with (
        Forked(child(MINE, THEIRS, LOG, frequent)) as first,
        Forked(child(THEIRS, MINE, LOG + 8 * ROUNDS, rare)) as second,
    ):
        first.join()
        second.join()
    logs = created.words(LOG, 2 * ROUNDS)
    frequent_log, rare_log = logs[:ROUNDS], logs[ROUNDS:]
    overlapping = sum(1 for seen in frequent_log.tolist() if 0 < seen < ROUNDS - 1)
    missed = missed_each_other(frequent_log, rare_log)
    for view in (frequent_log, rare_log):
        view.release()
    created.close()
    return missed, overlapping


def test_without_a_fence_they_miss_each_other() -> None:
    """The control: this is what the other tests of this file would see if the fence did nothing."""
    for _ in range(20):
        missed, _ = race(None, None)
        if missed:
            return
    pytest.skip("this machine reordered nothing (one core, or both busy): nothing can be shown here")


def assert_none_missed(rare: Callable[[], None], frequent: Callable[[], None] | None) -> None:
    """Race until both sides have run at the same time for a while: a busy machine may run one after the other."""
    for _ in range(50):
        missed, overlapping = race(rare, frequent)
        assert missed == 0
        if overlapping > ROUNDS // 100:
            return
    pytest.skip("the two processes never ran at the same time: nothing can be shown here")


def test_full_fence_on_the_rare_side_alone_suffices() -> None:
    assert fence.register() is True, "this kernel has no membarrier: the fallback's test covers it"
    assert_none_missed(fence.full_fence, None)


def test_fallback_suffices_when_both_sides_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without_membarrier:
        without_membarrier.setattr(fence, "_membarrier", None)
        without_membarrier.setattr(fence, "_registered_pid", 0)
        assert fence.register() is False
        assert_none_missed(fence.full_fence, fence.light_fence)
    monkeypatch.setattr(fence, "_registered_pid", 0)
    assert fence.register() is True


def test_fence_costs_microseconds() -> None:
    fence.register()
    best_s = 1.0
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(100):
            fence.full_fence()
        best_s = min(best_s, (time.perf_counter() - began) / 100)
    assert best_s < 50e-6
