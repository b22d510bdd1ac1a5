"""Random runs under budgets with limits of every kind: no limit is ever exceeded by more than estimates were too low.

Jobs of two queues start, report, complete, fail, crash, stall, are suspended, revoked, removed and retried; letters
come late or twice, at a time that only the test moves. With upper-bound estimates no limit is exceeded by a tenth.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar

import orjson
import pytest
import valkey
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from glidemq.commands.command import unpack
from tests.lua.budgets import (
    FLOW,
    add_budgeted,
    budget_of,
    budgeted,
    carry,
    estimating,
    report,
    reserved,
    update,
)
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue, Started
from tests.model.profiles import lives

CATEGORIES = ("input", "output", "cached")
COUNTERS = (
    "usedTokens", "usedCost", *(f"usedTokens:{name}" for name in CATEGORIES),
    *(f"usedCost:{name}" for name in CATEGORIES),
)  # fmt: skip
Amounts = dict[str, int]  # tokens, or tenths of a dollar, by category
MUCH: Amounts = dict.fromkeys(CATEGORIES, 60)
_names = itertools.count()

amounts = st.dictionaries(st.sampled_from(CATEGORIES), st.integers(0, 40))
limits = st.dictionaries(st.sampled_from(COUNTERS), st.integers(20, 200), min_size=1, max_size=5)
silence = st.sampled_from(["neither", "tokens", "cost"])
weights = st.dictionaries(st.sampled_from(CATEGORIES), st.sampled_from([0, 0.5, 1, 4]))


def dollars(tenths: int) -> float:
    return tenths / 10


def within(bound: Amounts, data: st.DataObject, least: Amounts) -> Amounts:
    """Amounts that are no more than `bound`, and no less than `least`."""
    return {name: data.draw(st.integers(least.get(name, 0), most)) for name, most in bound.items()}


class Run:
    """What one run has reserved and reported: tokens and tenths of dollars by category."""

    def __init__(self, queue: DrivenQueue, job: Started, reserved: Mapping[str, Fraction]) -> None:
        self.queue, self.job, self.reserved = queue, job, reserved
        self.tokens: Amounts = {}
        self.costs: Amounts = {}


class OvershootMachine(RuleBasedStateMachine):
    """The plain books: `estimates` by job, `runs` of each job in their order, `running` by job."""

    client: ClassVar[Any]
    call: ClassVar[Call]
    upper_bounds: ClassVar[bool]

    def __init__(self) -> None:
        super().__init__()
        self.estimates: dict[str, tuple[Amounts, Amounts]] = {}
        self.runs: dict[str, list[Run]] = {}
        self.running: dict[str, Run] = {}
        self.suspended: list[tuple[DrivenQueue, str]] = []

    @initialize(allowed=limits, weights=weights)
    def open(self, allowed: Amounts, weights: dict[str, float]) -> None:
        name = f"overshoot-{next(_names)}"
        self.root = DrivenQueue(self.client, name, self.call)
        self.other = DrivenQueue(self.client, f"{name}-other", self.call)
        self.weights = {category: Fraction(weight) for category, weight in weights.items()}
        self.allowed = allowed
        fields = {"onExceeded": "pause", "tokenWeights": orjson.dumps(weights).decode()}
        add_budgeted(self.root, limits=fields | self.limits_on_the_wire())

    def limits_on_the_wire(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        for counter, all_together, by_category, of in (
            ("usedTokens", "maxTotalTokens", "maxTokens", int),
            ("usedCost", "maxTotalCost", "maxCosts", dollars),
        ):
            if counter in self.allowed:
                fields[all_together] = str(of(self.allowed[counter]))
            names = {name: f"{counter}:{name}" for name in CATEGORIES}
            parts = {name: of(self.allowed[one]) for name, one in names.items() if one in self.allowed}
            if parts:
                fields[by_category] = orjson.dumps(parts).decode()
        return fields

    @rule(more=st.integers(1, 60))
    def raise_all_limits(self, more: int) -> None:
        """Jobs that were paused ask again."""
        self.allowed = {counter: amount + more for counter, amount in self.allowed.items()}
        assert update(self.root, **self.limits_on_the_wire())[0] == b"ok"

    # -- what happens to jobs ----------------------------------------------------------------------------

    @rule(
        here=st.booleans(), estimates=st.lists(st.tuples(amounts, amounts, silence), min_size=1, max_size=4)
    )
    def add(self, here: bool, estimates: list[tuple[Amounts, Amounts, str]]) -> None:
        for estimate in estimates:
            self.add_one(here, *estimate)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), here=st.booleans(), estimate=st.tuples(amounts, amounts, silence))
    def add_child(self, data: st.DataObject, here: bool, estimate: tuple[Amounts, Amounts, str]) -> None:
        """Of a running job, to which what was guessed for its parent may go."""
        run = self.running[data.draw(st.sampled_from(sorted(self.running)))]
        job_id = self.add_one(here, *estimate)
        queue = self.root if here else self.other
        parentage = {"parentId": run.job.id, "parentQueue": run.queue.name}
        queue.client.hset(queue.key(f"job:{job_id}"), mapping=parentage)

    def add_one(self, here: bool, tokens: Amounts, costs: Amounts, silent: str) -> str:
        job_id = f"j{len(self.estimates)}"
        self.estimates[job_id] = (tokens, costs)
        stated: dict[str, Any] = {
            "estimated_tokens": tokens,
            "estimated_cost": {name: dollars(value) for name, value in costs.items()},
        }
        if not self.upper_bounds and silent != "neither":
            del stated[f"estimated_{silent}"]
        queue = self.root if here else self.other
        row = estimating(self.root, job_id, **stated) if stated else budgeted(self.root, job_id)
        add_budgeted(queue, row, limits=None)
        return job_id

    @rule(here=st.booleans(), count=st.integers(1, 8))
    def start(self, here: bool, count: int) -> None:
        queue = self.root if here else self.other
        for job in queue.step(count).started:
            assert job.id not in self.running
            run = self.running[job.id] = Run(queue, job, self.reserved_by(queue, job.id))
            self.runs.setdefault(job.id, []).append(run)
        self.look_at_reservations()

    def look_at_reservations(self) -> None:
        """Guesses for parents may have gone to their children."""
        for run in self.running.values():
            run.reserved = self.reserved_by(run.queue, run.job.id)

    def reserved_by(self, queue: DrivenQueue, job_id: str) -> dict[str, Fraction]:
        """What the books of the budget say that this job has reserved."""
        stored = self.client.hget(self.root.key(f"x-py:budget:{FLOW}"), "=" + queue.key(job_id))
        shares: Any = unpack(stored)[b"reserved"] if stored else {}
        return {
            name.decode(): Fraction(value).limit_denominator(10**9) for name, value in dict(shares).items()
        }

    @precondition(lambda self: self.running)
    @rule(data=st.data(), honest=st.booleans())
    def report(self, data: st.DataObject, honest: bool) -> None:
        run = self.running[data.draw(st.sampled_from(sorted(self.running)))]
        tokens, costs = self.estimates[run.job.id]
        if not self.upper_bounds and not honest:
            tokens, costs = MUCH, MUCH
        tokens = tokens | {name: max(had, tokens.get(name, 0)) for name, had in run.tokens.items()}
        costs = costs | {name: max(had, costs.get(name, 0)) for name, had in run.costs.items()}
        self.say(run, within(tokens, data, run.tokens), within(costs, data, run.costs))

    @precondition(lambda self: self.running)
    @rule()
    def all_use_what_they_may(self) -> None:
        for run in self.running.values():
            tokens, costs = self.estimates[run.job.id]
            self.say(run, {**run.tokens, **tokens}, {**run.costs, **costs})

    def say(self, run: Run, tokens: Amounts, costs: Amounts) -> None:
        run.tokens = {name: max(value, run.tokens.get(name, 0)) for name, value in tokens.items()}
        run.costs = {name: max(value, run.costs.get(name, 0)) for name, value in costs.items()}
        spent = {name: dollars(value) for name, value in run.costs.items()}
        report(run.queue, run.job, costs=spent, **run.tokens or {"input": 0})

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        how=st.sampled_from(["complete", "retry", "fail", "crash", "release", "remove", "revoke", "suspend"]),
    )
    def end(self, data: st.DataObject, how: str) -> None:
        run = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        queue, job = run.queue, run.job
        if how in ("complete", "revoke"):
            if how == "revoke":
                queue.call("revoke", id=job.id)
            queue.complete(job, retain=data.draw(st.booleans()))
        elif how == "remove":
            queue.call("remove", id=job.id)
        elif how in ("retry", "fail"):
            queue.fail(job, max_attempts=9 if how == "retry" else 1, delay=0)
        elif how == "suspend":
            queue.call("suspend", rows=[[*job.fence, job.entry_id, False, 0]])
            self.suspended.append((queue, job.id))
        else:
            queue.release(job, crash="it died" if how == "crash" else False)

    @precondition(lambda self: self.suspended)
    @rule()
    def signal(self) -> None:
        queue, job_id = self.suspended.pop()
        queue.call("signal", id=job_id, name="go", data="", call=f"c{next(_names)}")

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
        self.look_at_reservations()

    @rule(seconds=st.integers(1, 20))
    def pass_time(self, seconds: int) -> None:
        self.root.now = self.other.now = max(self.root.now, self.other.now) + seconds * 1000

    # -- what always holds -------------------------------------------------------------------------------

    def counted(self, runs: list[Run]) -> dict[str, Fraction]:
        """What these runs of one job count for: where weights leave nothing, the plain total counts."""
        tokens = {name: Fraction(sum(run.tokens.get(name, 0) for run in runs)) for name in CATEGORIES}
        costs = {name: Fraction(sum(run.costs.get(name, 0) for run in runs), 10) for name in CATEGORIES}
        weighted = sum(value * self.weights.get(name, 1) for name, value in tokens.items())
        return {
            "usedTokens": Fraction(weighted or sum(tokens.values())),
            "usedCost": Fraction(sum(costs.values())),
            **{f"usedTokens:{name}": value for name, value in tokens.items()},
            **{f"usedCost:{name}": value for name, value in costs.items()},
        }

    def totals(self) -> dict[str, Fraction]:
        each = [self.counted(runs) for runs in self.runs.values()]
        return {counter: sum((one[counter] for one in each), Fraction()) for counter in COUNTERS}

    def underestimated(self) -> dict[str, Fraction]:
        """What all runs together have used beyond what was reserved for them."""
        zero = Fraction()
        beyond = dict.fromkeys(COUNTERS, zero)
        for runs in self.runs.values():
            before = dict.fromkeys(COUNTERS, zero)
            for number, run in enumerate(runs, 1):
                now = self.counted(runs[:number])
                for counter in self.allowed:
                    more = now[counter] - before[counter] - run.reserved.get(counter, zero)
                    beyond[counter] += max(more, zero)
                before = now
        return beyond

    @invariant()
    def no_limit_is_exceeded_by_more_than_was_underestimated(self) -> None:
        totals, beyond = self.totals(), self.underestimated()
        for counter, amount in self.allowed.items():
            most = Fraction(amount, 10 if counter.startswith("usedCost") else 1)
            assert totals[counter] <= most + beyond[counter], counter
            if self.upper_bounds:
                assert beyond[counter] == 0, counter

    @invariant()
    def nothing_is_called_exceeded_that_is_not(self) -> None:
        if self.upper_bounds:
            assert budget_of(self.root)["exceeded"] == "0"

    def teardown(self) -> None:
        if not hasattr(self, "root"):
            return
        for run in self.running.values():
            run.queue.complete(run.job)
        self.running.clear()
        carry(self.root, self.other)
        stored = budget_of(self.root)
        for counter, total in self.totals().items():
            assert float(stored.get(counter, 0)) == pytest.approx(float(total), abs=1e-9)
        if not any(self.client.exists(queue.key("x-py:allowances")) for queue in (self.root, self.other)):
            assert [reserved(self.root, counter) for counter in self.allowed] == [0] * len(self.allowed)


@pytest.mark.parametrize("upper_bounds", [True, False], ids=["upper-bounds", "guesses"])
def test_no_limit_is_exceeded_by_more_than_estimates_were_too_low(
    library: None, raw: valkey.Valkey, call: Call, upper_bounds: bool
) -> None:
    members = {"client": raw, "call": staticmethod(call), "upper_bounds": upper_bounds}
    machine: Any = type("Machine", (OvershootMachine,), members)
    machine.TestCase.settings = lives(60, 40)
    machine.TestCase().runTest()
