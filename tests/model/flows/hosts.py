"""Rules of hosts: they run jobs of flows, report what models have used, lose replies, die, and take over."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from glidemq.commands.command import unpack
from tests.lua.budgets import report
from tests.model.books import ACCEPTED, FAILED, HOSTS, PUT_OFF, RETRYING
from tests.model.flows.kin import FlowQueue, Kin, Purse, Run
from tests.model.flows.post import Post
from tests.model.flows.producers import picks, somewhere
from tests.model.moves import ENDED

hosts = st.sampled_from(HOSTS)

Outcome = tuple[Any, ...]
# How a run ends: the method below, and its arguments.
OUTCOMES: list[Outcome] = [
    ("complete", False), ("complete", False), ("complete", True), ("complete", 2),
    ("fail", 0, 0, False), ("fail", 0, 0, False), ("fail", 0, 0, True), ("fail", 2, 300, False),
    ("fail", 9, 20_000, False), ("fail", 9, 0, False), ("fail", -1, 0, False),
    ("release", False), ("release", True), ("release", "SIGSEGV"),
    ("move_to_delayed", 0), ("move_to_delayed", 300), ("suspend", 0), ("suspend", 300),
    ("wait_for_children",), ("wait_for_children",), ("wait_for_children",),
]  # fmt: skip


def some_have_run(self: Any) -> bool:
    return bool(self.runs)


class FlowHosts(Post):
    """Work."""

    @rule(
        queue=somewhere,
        host=hosts,
        slots=st.integers(1, 4),
        outcomes=st.lists(st.sampled_from([*OUTCOMES, *3 * [("leave",)]]), max_size=4),
        tokens=st.sampled_from([None, None, 5, 30, 90]),
        later_ms=st.sampled_from([0, 0, 350, 1_000, 16_000, 31_000]),
        carries=st.booleans(),
    )
    def work(
        self,
        queue: int,
        host: str,
        slots: int,
        outcomes: list[Outcome],
        tokens: int | None,
        later_ms: int,
        carries: bool,
    ) -> None:
        """What hosts do all the time: they start jobs, report, and end some of the runs in hand."""
        self.set_time(self.now + later_ms)
        for home in self.some(queue):
            self.step(home, slots, host)
            self.the_server_agrees()
            runs = [run for run in self.current() if run.queue is home]
            for run, outcome in zip(runs, itertools.cycle(outcomes), strict=False):
                if tokens is not None:
                    self.report(run, tokens)
                self.end(run, *outcome)
                self.the_server_agrees()
            if carries:
                self.carry_from(home)
                self.the_server_agrees()

    @precondition(some_have_run)
    @rule(pick=picks, outcome=st.sampled_from(OUTCOMES))
    def end_a_run(self, pick: int, outcome: Outcome) -> None:
        """Perhaps one that was taken over, or has ended before."""
        run = self.pick_run(pick)
        assert run is not None
        self.end(run, *outcome)

    def end_and_start(self, home: FlowQueue, number: int) -> None:
        """In one call."""
        done = [run for run in self.current() if run.queue is home][: number % 3 + 1]
        self.step(home, number // 3 % 3 + 1, HOSTS[number // 9 % 3], done)

    # -- starts

    def step(self, queue: FlowQueue, slots: int, host: str, done: list[Run] | None = None) -> Any:
        done = done or []
        expected = [self.note_completion(run, False) for run in done]
        rows = [queue.completion(run.started, f'"{run.id}"') for run in done]
        stepped = queue.step(slots, consumer=host, complete=rows)
        assert stepped.outcomes == expected
        for started in stepped.started:
            self.note_start(Run(queue, started))
        return stepped

    def note_start(self, run: Run) -> None:
        kin = self.kin[run.id]
        assert kin.holder is None, "a job in hand was started again"
        assert self.state(run.id) not in ENDED, "a job has started after its end"
        assert self.now >= self.due.pop(run.id, 0), "a job has started too early"
        kin.holder, kin.spent = run.token, None
        self.runs.append(run)
        if kin.purse is not None:
            kin.purse.granted[run.token] = self.reserved_for(kin)

    def look_at_guesses(self, purse: Purse) -> None:
        """What was guessed for a running parent may have gone to a child."""
        for kin in self.kin.values():
            if kin.purse is purse and kin.holder is not None and kin.estimate is None:
                purse.granted[kin.holder] = self.reserved_for(kin)

    def reserved_for(self, kin: Kin) -> float:
        """What the books of the budget say that the job has reserved."""
        assert kin.purse is not None
        stored = self.client.hget(kin.purse.queue.key(f"x-py:budget:{kin.purse.flow}"), "=" + kin.name)
        shares: Any = unpack(stored)[b"reserved"] if stored else {}
        return float(dict(shares).get(b"usedTokens", 0))

    # -- ends

    def note_completion(self, run: Run, retain: bool | int) -> int:
        code = self.expect(run, ACCEPTED)
        if code == ACCEPTED:
            self.completing.add(run.id)
            self.kin[run.id].value = f'"{run.id}"' if retain else None
        self.settle(run, code)
        return code

    def settle(self, run: Run, code: int) -> None:
        if code in (ACCEPTED, RETRYING, FAILED, PUT_OFF):
            self.let_go(run.id, spent=True)

    def end(self, run: Run, how: str, *arguments: Any) -> None:
        """As OUTCOMES say."""
        if how != "leave":
            getattr(self, how)(run, *arguments)

    def complete(self, run: Run, retain: bool | int) -> None:
        code = self.note_completion(run, retain)
        value = f'"{run.id}"'
        assert run.queue.complete(run.started, value=value, retain=retain) == [code]

    def fail(self, run: Run, max_attempts: int, delay: int, retain: bool | int) -> None:
        kin = self.kin.get(run.id)
        made = int(self.stored(kin).get("attemptsMade", 0)) if kin else 0
        again = PUT_OFF if max_attempts < 0 else RETRYING if made + 1 < max_attempts else FAILED
        code = self.expect(run, again)
        reply = run.queue.fail(run.started, max_attempts=max_attempts, delay=delay, retain=retain)
        assert [row[0] for row in reply] == [code]
        if code in (RETRYING, PUT_OFF):
            self.due[run.id] = self.now + delay
        self.settle(run, code)

    def release(self, run: Run, crash: bool | str) -> None:
        kin = self.kin.get(run.id)
        crashes = (int(self.stored(kin).get("x-py:crashes", 0)) if kin else 0) + (crash == "SIGSEGV")
        code = self.expect(run, FAILED if crash == "SIGSEGV" and crashes >= 3 else ACCEPTED)
        assert run.queue.release(run.started, crash=crash) == [code]
        self.settle(run, code)

    def move_to_delayed(self, run: Run, ms: int) -> None:
        if self.detour("move_to_delayed", run, self.now + ms, False) == ACCEPTED:
            self.due[run.id] = self.now + ms

    def suspend(self, run: Run, timeout_ms: int) -> None:
        self.detour("suspend", run, False, timeout_ms)

    def detour(self, function: str, run: Run, *arguments: Any) -> int:
        code = self.expect(run, ACCEPTED)
        row = [*run.started.fence, run.started.entry_id, *arguments]
        assert run.queue.call(function, rows=[row])[2] == [code]
        self.settle(run, code)
        return code

    def wait_for_children(self, run: Run) -> None:
        kin = self.kin.get(run.id)
        code = self.expect(run, FAILED if kin and kin.failing else ACCEPTED)
        row = [*run.started.fence, run.started.entry_id]
        assert run.queue.call("move_to_waiting_children", rows=[row])[2] == [code]
        if kin is not None and code == ACCEPTED:
            waits = not kin.has_all() and kin.woken_in != run.token
            assert (run.queue.state(run.id) == "waiting-children") == waits
            kin.may_go_on = True  # that was judged here
        self.settle(run, code)

    def report(self, run: Run, tokens: int) -> None:
        kin = self.kin.get(run.id)
        if kin is not None and kin.purse is not None and self.holds(run):
            said = kin.purse.said
            said[run.token] = max(tokens, said.get(run.token, 0))
            report(run.queue, run.started, said[run.token])

    # -- recovery

    def find_orphans(self, queue: FlowQueue, host: str) -> None:
        """The host remembers nothing, for replies were lost."""
        for job_id in queue.recover_orphans(consumer=host, limit=3):
            if job_id in self.kin and self.kin[job_id].holder is not None:
                self.let_go(job_id, spent=False)

    def take_over(self, queue: FlowQueue, max_stalled: int, lock_ms: int) -> None:
        found = queue.recover_stalled(max_stalled=max_stalled, limit=3, lock_ms=lock_ms)
        for job_id, what in found.items():
            if what != "dropped" and job_id in self.kin and self.kin[job_id].holder is not None:
                self.let_go(job_id, spent=False)
