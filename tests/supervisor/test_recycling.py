"""When a process has run for long enough."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from glidemq.process_spec import Crew
from glidemq.shared_memory import ProcessState, StatusBoard
from glidemq_supervisor.process_slot import ProcessSlot, SlotAddress
from glidemq_supervisor.recycling import Recycling, RecyclingLimits


@pytest.fixture
def slot() -> Iterator[ProcessSlot]:
    board = StatusBoard.create(1)
    slot = ProcessSlot(SlotAddress(0, Crew("default", "sync"), 0), board.slot(1))
    start(slot)
    yield slot
    board.close()


def start(slot: ProcessSlot, now: float = 0.0) -> None:
    slot.want(now)
    slot.begin(1)
    slot.forked(os.getpid(), now)
    slot.page.state = ProcessState.READY


def test_without_limits_nothing_is_ever_due(slot: ProcessSlot) -> None:
    slot.page.jobs_done = 10**9
    assert Recycling(RecyclingLimits()).why_due(slot, now=1e9) is None


@pytest.mark.parametrize(("draw", "due_at"), [(0.0, 1000), (0.5, 950), (1.0, 900)])
def test_jobs_are_jittered_downwards_by_at_most_a_tenth(slot: ProcessSlot, draw: float, due_at: int) -> None:
    recycling = Recycling(RecyclingLimits(max_jobs=1000), draw=lambda: draw)
    slot.page.jobs_done = due_at - 1
    assert recycling.why_due(slot, now=1.0) is None
    slot.page.jobs_done = due_at
    assert f"it has done {due_at} jobs" in (recycling.why_due(slot, now=1.0) or "")


def test_limit_of_one_job_is_one_job(slot: ProcessSlot) -> None:
    recycling = Recycling(RecyclingLimits(max_jobs=1), draw=lambda: 1.0)
    assert recycling.why_due(slot, now=1.0) is None
    slot.page.jobs_done = 1
    assert recycling.why_due(slot, now=1.0) is not None


def test_each_generation_draws_for_itself_and_only_once(slot: ProcessSlot) -> None:
    draws = iter([0.0, 1.0])
    recycling = Recycling(RecyclingLimits(max_jobs=100), draw=lambda: next(draws))
    slot.page.jobs_done = 95
    assert [recycling.why_due(slot, now=1.0) for _ in range(3)] == [None] * 3
    slot.gone(0, now=2.0)
    start(slot)
    slot.page.jobs_done = 95
    assert recycling.why_due(slot, now=3.0) is not None


def test_age(slot: ProcessSlot) -> None:
    recycling = Recycling(RecyclingLimits(max_age_s=60.0), draw=lambda: 0.0)
    assert recycling.why_due(slot, now=59.0) is None
    assert recycling.why_due(slot, now=60.0) is not None


def test_memory_counts_only_once_the_process_has_done_something(slot: ProcessSlot) -> None:
    recycling = Recycling(RecyclingLimits(max_rss_bytes=1))
    assert recycling.why_due(slot, now=10.0) is None
    slot.page.jobs_done = 1
    assert "--max-rss" in (recycling.why_due(slot, now=10.0) or "")
