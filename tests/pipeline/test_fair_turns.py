"""Queues that share slots get processing time in proportion to their weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from glidemq.pipeline.fair_turns import FairTurns
from glidemq.pipeline.window import ServiceTimes


class Pump(SimpleNamespace):
    """As much of a queue's pump as the line looks at."""

    __hash__ = object.__hash__


class Line:
    """One slot, which several queues share; jobs take as long as their queue's do."""

    def __init__(self, *queues: tuple[int, int]) -> None:
        """queues: (weight, milliseconds of each job)."""
        self.pumps: list[Any] = [
            Pump(
                settings=SimpleNamespace(weight=weight),
                service_times=ServiceTimes(),
                hungry=True,
                job_ns=milliseconds * 1_000_000,
                had_ns=0,
                kick=lambda: None,
            )
            for weight, milliseconds in queues
        ]
        self.turns = FairTurns(lambda: self.pumps, self)  # type: ignore[arg-type]

    def wants(self, pump: Any) -> tuple[int, int]:
        return 1, 0

    def share_slots(self, one: Any, other: Any) -> bool:
        return True

    def run(self, jobs: int) -> None:
        """Whoever may ask runs the next job; the first in the list asks first."""
        for _ in range(jobs):
            asking = [pump for pump in self.pumps if pump.hungry and self.turns.may_ask(pump)]
            assert asking, "somebody must be next"
            pump, lease = asking[0], SimpleNamespace(name=b"job", charged_ns=0)
            self.turns.charge(pump, lease)  # type: ignore[arg-type]
            pump.service_times.record(b"job", pump.job_ns)
            self.turns.correct(pump, lease, pump.job_ns)  # type: ignore[arg-type]
            pump.had_ns += pump.job_ns

    def drain(self, number: int) -> None:
        self.pumps[number].hungry = False
        self.turns.drained(self.pumps[number])


def test_equal_weights_share_time_although_jobs_differ() -> None:
    line = Line((1, 100), (1, 10))
    line.run(1100)
    slow, quick = line.pumps
    assert abs(slow.had_ns - quick.had_ns) <= slow.job_ns


def test_weights_divide_the_time() -> None:
    line = Line((9, 10), (1, 10))
    line.run(1000)
    live, batch = line.pumps
    assert abs(live.had_ns - 9 * batch.had_ns) <= 10 * live.job_ns


def test_idle_queue_has_saved_up_nothing_when_it_comes_back() -> None:
    line = Line((1, 10), (1, 10))
    line.drain(0)
    line.run(1000)
    line.pumps[0].hungry = True
    before = line.pumps[1].had_ns
    line.run(100)
    assert abs(line.pumps[0].had_ns - (line.pumps[1].had_ns - before)) <= 2 * line.pumps[0].job_ns


def test_job_given_back_costs_nothing() -> None:
    line = Line((1, 10), (1, 10))
    first, second = line.pumps
    lease: Any = SimpleNamespace(name=b"job", charged_ns=0)
    line.turns.charge(first, lease)
    assert not line.turns.may_ask(first)
    line.turns.correct(first, lease, 0)
    assert line.turns.may_ask(first)
    assert line.turns.may_ask(second)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 50)), min_size=2, max_size=5))
def test_whatever_the_weights_no_queue_is_ahead_by_more_than_its_last_jobs(
    queues: list[tuple[int, int]],
) -> None:
    line = Line(*queues)
    line.run(400)
    shares = [pump.had_ns / pump.settings.weight for pump in line.pumps]
    # Before a name is known its jobs count as long ones: up to four of these, then one of the true length.
    slack = max(pump.job_ns / pump.settings.weight for pump in line.pumps)
    assert max(shares) - min(shares) <= 6 * slack
