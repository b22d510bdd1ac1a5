"""Gates and purses of several hosts keep every window, whatever the jobs, the latencies and the deaths of hosts.

The real gates, purses and server library; only time is the test's.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glidemq.commands.keys import QueueKeys, limit_meta_key
from glidemq.commands.step import StepCommand
from glidemq.options.token_limiter import QueueLimits, Scope
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.limits.counted_purse import CountedPurse
from glidemq.pipeline.limits.leased_purse import LeasedPurse
from glidemq.pipeline.limits.limit_watch import LimitWatch
from glidemq.pipeline.limits.purse import Purse, TokenLimit
from glidemq.pipeline.limits.token_gate import TokenGate
from glidemq.pipeline.pump_context import QueueSettings
from tests.lua.conftest import call, driven, library
from tests.lua.driven_queue import DrivenQueue
from tests.pipeline.virtual_time import VirtualConnection, VirtualLoop, run

__all__ = ["call", "driven", "library"]

MAX = 1000
# Long, since keys expire in real time: however busy the machine is, a window does not take so long to play.
WINDOW_MS = 10_000
POLL_S = 0.25
GIVE_UP_S = 6000.0

_queues = itertools.count(1)


@dataclass(frozen=True)
class Work:
    """One job: what it uses, by how much its estimate is higher, how long it runs, and whether it says what it used."""

    tokens: int
    slack: int = 0
    seconds: float = 0.1
    tells: bool = True
    fails: bool = False


@dataclass
class Host:
    """One gateway with one queue: asks as a pump does, and runs what it is given."""

    driven: DrivenQueue
    loop: VirtualLoop
    limits: QueueLimits
    slots: int
    latency_s: float
    dies_after_s: float | None
    number: int
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.connection = VirtualConnection(self.driven, self.loop, self.latency_s)
        limit = TokenLimit(self.limits.max_tokens, self.limits.window_ms)
        settings = QueueSettings(self.driven.name, limits=self.limits)
        connection: Any = self.connection
        self.purse: Purse = (
            CountedPurse(limit)
            if self.limits.scope == "queue"
            else LeasedPurse(limit, connection, settings.keys.meta)
        )
        watch = LimitWatch(connection, limit_meta_key("glide", self.driven.name))
        self.gate = TokenGate(self.limits, self.purse, watch, self.awake.set)
        self.pump: Any = type("Pump", (), {"settings": settings})()
        self.running = 0
        self.jobs: set[asyncio.Task[None]] = set()

    async def work(self, works: dict[str, Work], done: set[str]) -> None:
        for step in itertools.count(1):
            if len(done) == len(works) or (self.dies_after_s or GIVE_UP_S) < self.loop.time():
                break
            started = await self._ask(step, works, done)
            if not started:
                with_timeout = asyncio.wait_for(self.awake.wait(), POLL_S)
                await asyncio.gather(with_timeout, return_exceptions=True)
                self.awake.clear()
        if self.dies_after_s is None:
            await self.purse.close()

    async def _ask(self, step: int, works: dict[str, Work], done: set[str]) -> bool:
        slots, _ = self.gate.admit(self.slots - self.running, 0)
        if slots <= 0:
            return False
        result = await self.connection.execute(
            StepCommand(
                self.driven.key("meta"), consumer=f"h{self.number}", cell=f"h{self.number}",
                run=f"{self.number}-{step}", complete=[], slots=slots, ahead=0, max_bytes=1 << 20,
                tokens=self.gate.draw(slots),
            )
        )  # fmt: skip
        leases = [Lease(0, self.pump, activation) for activation in result.activations]
        self.gate.dealt(leases, result.tokens)
        self.running += len(leases)
        for lease in leases:
            task = asyncio.get_running_loop().create_task(self._run(lease, works, done))
            self.jobs.add(task)
            task.add_done_callback(self.jobs.discard)
        return bool(leases)

    async def _run(self, lease: Lease, works: dict[str, Work], done: set[str]) -> None:
        work = works[lease.id.decode()]
        await asyncio.sleep(work.seconds)
        done.add(lease.id.decode())
        self.running -= 1
        self.gate.ended(lease, work.tokens if work.tells else -1, succeeded=not work.fails)
        self.awake.set()


@dataclass(frozen=True)
class HostPlan:
    slots: int = 4
    latency_s: float = 0.001
    dies_after_s: float | None = None


def play(
    driven: DrivenQueue, works: list[Work], hosts: list[HostPlan], scope: Scope, *, overtake: bool = False
) -> tuple[list[int], list[str]]:
    """Tokens that the jobs of each window have used, by the server's time of their start; and all calls."""
    queue = DrivenQueue(driven.client, f"{driven.name}-{next(_queues)}", driven._call)
    rows = [queue.row(opts=json.dumps({"estimatedTokens": work.tokens + work.slack})) for work in works]
    queue.enqueue(*rows)
    by_id = {str(number): work for number, work in enumerate(works, 1)}
    limits = QueueLimits(MAX, WINDOW_MS, scope, overtake)
    calls: list[str] = []

    async def main() -> None:
        done: set[str] = set()
        made = [
            Host(queue, loop, limits, plan.slots, plan.latency_s, plan.dies_after_s, number)
            for number, plan in enumerate(hosts)
        ]
        await asyncio.gather(*(host.work(by_id, done) for host in made))
        while any(host.jobs for host in made):
            await asyncio.sleep(0.1)
        calls.extend(itertools.chain.from_iterable(host.connection.calls for host in made))
        assert done == set(by_id)

    loop = VirtualLoop()
    run(main(), loop)
    used: Counter[int] = Counter()
    for job_id, work in by_id.items():
        used[int(queue.job(job_id)["processedOn"]) // WINDOW_MS] += work.tokens
    assert QueueKeys("glide", queue.name).meta  # the queue's own window is the one that was counted
    return [used[number] for number in range(min(used), max(used) + 1)], calls


works = st.builds(
    Work,
    tokens=st.integers(0, 2 * MAX // 3),
    slack=st.integers(0, MAX // 3),
    seconds=st.sampled_from([0.01, 0.2, 3.0, 12.0]),
    tells=st.booleans(),
    fails=st.booleans(),
)
plans = st.builds(
    HostPlan,
    slots=st.integers(1, 8),
    latency_s=st.sampled_from([0.0005, 0.003, 0.04]),
    dies_after_s=st.sampled_from([None, None, 2.0, 15.0]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    jobs=st.lists(works, min_size=1, max_size=60),
    hosts=st.lists(plans, min_size=0, max_size=3),
    scope=st.sampled_from(["both", "queue"]),
    overtake=st.booleans(),
)
def test_no_window_is_exceeded_with_upper_bound_estimates(
    driven: DrivenQueue, jobs: list[Work], hosts: list[HostPlan], scope: Scope, overtake: bool
) -> None:
    windows, _ = play(driven, jobs, [HostPlan(), *hosts], scope, overtake=overtake)
    assert max(windows) <= MAX


@pytest.mark.parametrize("scope", ["both", "queue"])
@pytest.mark.parametrize("slack", [0, 5])
def test_pressure_uses_nearly_all_of_the_allowance(driven: DrivenQueue, scope: Scope, slack: int) -> None:
    sizes = itertools.islice(itertools.cycle((4, 7, 10, 13)), 800)
    windows, _ = play(driven, [Work(size, slack) for size in sizes], [HostPlan()] * 3, scope)
    inner = windows[1:-1]
    assert len(inner) >= 4
    assert max(windows) <= MAX
    assert sum(inner) >= 0.95 * MAX * len(inner)


def test_jobs_above_the_limit_run_alone_in_their_windows(driven: DrivenQueue) -> None:
    jobs = [Work(50), Work(3 * MAX), Work(50), Work(2 * MAX), Work(50)]
    windows, _ = play(driven, jobs, [HostPlan()] * 2, "both")
    assert [window for window in windows if window] == [50, 3 * MAX, 50, 2 * MAX, 50]


def test_overrun_is_taken_off_the_window_in_which_it_settles(driven: DrivenQueue) -> None:
    greedy = Work(400, slack=-399)
    windows, _ = play(driven, [greedy] * 10, [HostPlan(slots=1)], "both")
    # Each is let start for 1 token, and 399 more are counted at its end: the third one closes the window.
    assert max(windows) <= 3 * 400
    assert len(windows) >= 4


@pytest.mark.parametrize("scope", ["both", "queue"])
def test_what_a_job_did_not_need_is_free_in_its_own_window_only(driven: DrivenQueue, scope: Scope) -> None:
    modest = [Work(1, slack=332, seconds=seconds) for seconds in (0.1, 12.0, 12.0)]
    windows, _ = play(driven, [*modest, *[Work(100)] * 40], [HostPlan(slots=8)], scope)
    # 332 of the first are free again at once; the others end when their window is over.
    assert windows[0] == 3 + 300
    assert windows[1:4] == [MAX] * 3


def test_far_from_the_limit_calls_are_few(driven: DrivenQueue) -> None:
    windows, calls = play(driven, [Work(1, seconds=0.01)] * 400, [HostPlan(slots=8)], "both")
    assert sum(windows) == 400
    assert calls.count("gmq_lease_tokens") <= 12


def test_counting_in_the_step_needs_no_calls_of_its_own(driven: DrivenQueue) -> None:
    _, calls = play(driven, [Work(20)] * 100, [HostPlan()] * 2, "queue")
    assert "gmq_lease_tokens" not in calls
