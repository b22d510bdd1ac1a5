"""Rules of hosts: they run jobs of flows, report what models have used, lose replies, die, and take over."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from glidemq.commands.command import unpack
from tests.lua.budgets import report
from tests.model.books import ACCEPTED, FAILED, HOSTS, LOCK_MS, PUT_OFF, RETRYING
from tests.model.flows.books import FlowBooks
from tests.model.flows.kin import FlowQueue, Kin, Purse, Run
from tests.model.flows.producers import picks, where
from tests.model.moves import ENDED

hosts = st.sampled_from(HOSTS)
retentions = st.sampled_from([False, False, True, 2])


def some_have_run(self: Any) -> bool:
    return bool(self.runs)


class FlowHosts(FlowBooks):
    """Work."""

    # -- starts

    @rule(queue=where, host=hosts, slots=st.integers(1, 4))
    def start(self, queue: int, host: str, slots: int) -> None:
        self.step(self.queues[queue], slots, host)

    @rule(queue=where, host=hosts, slots=st.integers(1, 3), count=st.integers(1, 3))
    def end_and_start(self, queue: int, host: str, slots: int, count: int) -> None:
        """What hosts do all the time."""
        home = self.queues[queue]
        done = [run for run in self.current() if run.queue is home][:count]
        self.step(home, slots, host, done)

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

    @precondition(some_have_run)
    @rule(pick=picks, retain=retentions)
    def complete(self, pick: int, retain: bool | int) -> None:
        run = self.pick_run(pick)
        assert run is not None
        code = self.note_completion(run, retain)
        value = f'"{run.id}"'
        assert run.queue.complete(run.started, value=value, retain=retain) == [code]

    @precondition(some_have_run)
    @rule(
        pick=picks,
        max_attempts=st.sampled_from([-1, 0, 0, 2, 9]),
        delay=st.sampled_from([0, 300, 20_000]),
        retain=retentions,
    )
    def fail(self, pick: int, max_attempts: int, delay: int, retain: bool | int) -> None:
        run = self.pick_run(pick)
        assert run is not None
        kin = self.kin.get(run.id)
        made = int(self.stored(kin).get("attemptsMade", 0)) if kin else 0
        again = PUT_OFF if max_attempts < 0 else RETRYING if made + 1 < max_attempts else FAILED
        code = self.expect(run, again)
        reply = run.queue.fail(run.started, max_attempts=max_attempts, delay=delay, retain=retain)
        assert [row[0] for row in reply] == [code]
        if self.holds(run) and code in (RETRYING, PUT_OFF):
            self.due[run.id] = self.now + delay
        self.settle(run, code)

    @precondition(some_have_run)
    @rule(pick=picks, crash=st.sampled_from([False, False, True, "SIGSEGV"]))
    def release(self, pick: int, crash: bool | str) -> None:
        run = self.pick_run(pick)
        assert run is not None
        kin = self.kin.get(run.id)
        crashes = (int(self.stored(kin).get("x-py:crashes", 0)) if kin else 0) + (crash == "SIGSEGV")
        code = self.expect(run, FAILED if crash == "SIGSEGV" and crashes >= 3 else ACCEPTED)
        assert run.queue.release(run.started, crash=crash) == [code]
        self.settle(run, code)

    # -- detours

    @precondition(some_have_run)
    @rule(pick=picks, ms=st.sampled_from([0, 300]))
    def move_to_delayed(self, pick: int, ms: int) -> None:
        run = self.detour("move_to_delayed", pick, self.now + ms, False)
        if run is not None:
            self.due[run.id] = self.now + ms

    @precondition(some_have_run)
    @rule(pick=picks, timeout_ms=st.sampled_from([0, 300]))
    def suspend(self, pick: int, timeout_ms: int) -> None:
        self.detour("suspend", pick, False, timeout_ms)

    def detour(self, function: str, pick: int, *arguments: Any) -> Run | None:
        """The run, if it has ended by that."""
        run = self.pick_run(pick)
        assert run is not None
        code = self.expect(run, ACCEPTED)
        row = [*run.started.fence, run.started.entry_id, *arguments]
        assert run.queue.call(function, rows=[row])[2] == [code]
        self.settle(run, code)
        return run if code == ACCEPTED else None

    @precondition(some_have_run)
    @rule(pick=picks)
    def wait_for_children(self, pick: int) -> None:
        run = self.pick_run(pick)
        assert run is not None
        kin = self.kin.get(run.id)
        code = self.expect(run, FAILED if kin and kin.failing else ACCEPTED)
        row = [*run.started.fence, run.started.entry_id]
        assert run.queue.call("move_to_waiting_children", rows=[row])[2] == [code]
        if kin is not None and code == ACCEPTED:
            goes_on = kin.has_all() or kin.woken_in == run.token
            assert run.queue.state(run.id) == ("waiting" if goes_on else "waiting-children")
            kin.may_go_on = True  # that was judged here
        self.settle(run, code)

    # -- usage

    @precondition(some_have_run)
    @rule(pick=picks, tokens=st.integers(0, 90))
    def report_usage(self, pick: int, tokens: int) -> None:
        run = self.pick_run(pick)
        assert run is not None
        kin = self.kin.get(run.id)
        if kin is None or kin.purse is None or not self.holds(run):
            return
        said = kin.purse.said
        tokens = max(tokens, said.get(run.token, 0))
        report(run.queue, run.started, tokens)
        said[run.token] = tokens

    # -- recovery, and the clock

    @rule(queue=where, host=hosts, what=st.integers(0, 9))
    def recover(self, queue: int, host: str, what: int) -> None:
        """The host remembers nothing, for replies were lost; or it takes over from others; or jobs are due."""
        home = self.queues[queue]
        if what == 9:
            home.promote_due()
        elif what >= 4:
            for job_id in home.recover_orphans(consumer=host, limit=3):
                if job_id in self.kin and self.kin[job_id].holder is not None:
                    self.let_go(job_id, spent=False)
        else:
            self.take_over(home, what, LOCK_MS // 3)

    def take_over(self, queue: FlowQueue, max_stalled: int, lock_ms: int) -> None:
        found = queue.recover_stalled(max_stalled=max_stalled, limit=3, lock_ms=lock_ms)
        for job_id, what in found.items():
            if what != "dropped" and job_id in self.kin and self.kin[job_id].holder is not None:
                self.let_go(job_id, spent=False)

    @rule(ms=st.sampled_from([1, 350, 1_000, 4_000, 11_000, 31_000]))
    def pass_time(self, ms: int) -> None:
        self.set_time(self.now + ms)
