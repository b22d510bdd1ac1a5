"""Random runs under a budget: whatever happens, what exceeds it is what runs have used beyond their reservations.

Jobs of two queues, with and without estimates, start, report, complete, fail, crash, stall, are removed and retried;
letters between the queues come late, twice or not at all for a while, at a time that only the test moves.
"""

from __future__ import annotations

import itertools
from typing import Any

import valkey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from glidemq.commands.command import unpack
from tests.lua.budgets import FLOW, add_budgeted, budget_of, budgeted, carry, report, reserved, used
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue, Started

MOST = 300
_names = itertools.count()


class BudgetMachine(RuleBasedStateMachine):
    """The plain books: `estimates` by job, `said` by job and run, `running` by job.

    A run's reservation is known for jobs with an estimate; for others it is what the server said when it started.
    """

    client: Any
    call: Call

    def __init__(self) -> None:
        super().__init__()
        self.estimates: dict[str, int | None] = {}
        self.said: dict[str, dict[str, int]] = {}
        self.running: dict[str, tuple[DrivenQueue, Started]] = {}
        self.beyond = 0  # what runs have used beyond their reservations
        self.granted: dict[str, float] = {}

    @initialize()
    def open(self) -> None:
        name = f"budget-{next(_names)}"
        self.root = DrivenQueue(self.client, name, self.call)
        self.other = DrivenQueue(self.client, f"{name}-other", self.call)
        add_budgeted(self.root, limits={"onExceeded": "pause", "maxTotalTokens": str(MOST)})

    # -- what happens to jobs ----------------------------------------------------------------------------

    @rule(here=st.booleans(), estimate=st.none() | st.integers(0, 120))
    def add(self, here: bool, estimate: int | None) -> None:
        job_id = f"j{len(self.estimates)}"
        self.estimates[job_id] = estimate
        queue = self.root if here else self.other
        add_budgeted(queue, budgeted(self.root, job_id, estimate), limits=None)

    @rule(here=st.booleans(), count=st.integers(1, 4))
    def start(self, here: bool, count: int) -> None:
        queue = self.root if here else self.other
        for job in queue.step(count).started:
            assert job.id not in self.running
            self.running[job.id] = (queue, job)
            self.said.setdefault(job.id, {})[job.token] = 0
            self.granted[job.token] = self.reserved_by(queue, job.id)
            if self.estimates[job.id] is not None:
                assert self.granted[job.token] == self.estimates[job.id]

    def reserved_by(self, queue: DrivenQueue, job_id: str) -> float:
        """What the books of the budget say that this job has reserved."""
        stored = self.client.hget(self.root.key(f"x-py:budget:{FLOW}"), "=" + queue.key(job_id))
        shares: Any = unpack(stored)[b"reserved"] if stored else {}
        return float(dict(shares).get(b"usedTokens", 0))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), tokens=st.integers(0, 150))
    def report(self, data: st.DataObject, tokens: int) -> None:
        queue, job = self.running[data.draw(st.sampled_from(sorted(self.running)))]
        tokens = max(tokens, self.said[job.id][job.token])
        report(queue, job, tokens)
        self.said[job.id][job.token] = tokens

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["complete", "retry", "fail", "crash", "release", "remove"]))
    def end(self, data: st.DataObject, how: str) -> None:
        queue, job = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        if how == "complete":
            queue.complete(job, retain=data.draw(st.booleans()))
        elif how == "remove":
            queue.call("remove", id=job.id)
        elif how in ("retry", "fail"):
            queue.fail(job, max_attempts=9 if how == "retry" else 1, delay=0)
        else:
            queue.release(job, crash="it died" if how == "crash" else False)

    @precondition(lambda self: self.running)
    @rule()
    def every_host_dies(self) -> None:
        for queue in (self.root, self.other):
            queue.now = max(self.root.now, self.other.now) + 31_000
            queue.recover_stalled(max_stalled=5)
        self.running.clear()

    # -- time and letters --------------------------------------------------------------------------------

    @rule(times=st.integers(1, 2))
    def carry(self, times: int) -> None:
        carry(self.root, self.other, times=times)

    @rule(seconds=st.integers(1, 20))
    def pass_time(self, seconds: int) -> None:
        later = max(self.root.now, self.other.now) + seconds * 1000
        self.root.now = self.other.now = later

    # -- what always holds -------------------------------------------------------------------------------

    def overrun(self) -> float:
        """What all runs together have used beyond what was reserved for them."""
        return sum(
            max(said - self.granted[token], 0) for runs in self.said.values() for token, said in runs.items()
        )

    @invariant()
    def no_more_is_exceeded_than_runs_have_underestimated(self) -> None:
        total = sum(said for runs in self.said.values() for said in runs.values())
        assert total <= MOST + self.overrun()

    @invariant()
    def used_and_reserved_stay_within_the_budget(self) -> None:
        if budget_of(self.root)["exceeded"] == "0":
            assert used(self.root) <= MOST
            assert used(self.root) + reserved(self.root) <= MOST + self.overrun() + 1e-6

    def teardown(self) -> None:
        if not hasattr(self, "root"):
            return
        for job_id in list(self.running):
            queue, job = self.running.pop(job_id)
            queue.complete(job)
        carry(self.root, self.other)
        total = sum(said for runs in self.said.values() for said in runs.values())
        assert used(self.root) == total
        if not any(
            self.client.exists(queue.key("x-py:allowances")) for queue in (self.root, self.other)
        ):  # nobody was let start that has not started
            assert reserved(self.root) == 0


def test_budgets_hold_whatever_happens_to_their_jobs(library: None, raw: valkey.Valkey, call: Call) -> None:
    checks: Any = HealthCheck
    machine: Any = type("Machine", (BudgetMachine,), {"client": raw, "call": staticmethod(call)})
    machine.TestCase.settings = settings(
        max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(checks)
    )
    machine.TestCase().runTest()
