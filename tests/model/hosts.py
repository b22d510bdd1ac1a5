"""Rules of the hosts: they start jobs, report outcomes, lose replies, die, and take over from each other."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.lua.driven_queue import Started
from tests.model.books import ACCEPTED, FAILED, HOSTS, LOCK_MS, PUT_OFF, RETRYING, REVOKED
from tests.model.starting import Starting

hosts = st.sampled_from(HOSTS)
picks = st.integers(0, 99)
SUSPECT, KILLED = True, "SIGSEGV"


def some_have_run(self: Any) -> bool:
    return bool(self.runs)


class Hosts(Starting):
    """Work."""

    @rule(host=hosts, slots=st.integers(1, 5), ahead=st.integers(0, 4))
    def start(self, host: str, slots: int, ahead: int) -> None:
        for run in self.step(slots, ahead=ahead, host=host).started:
            self.held[host][run.id] = run

    @rule(host=hosts, slots=st.integers(1, 3))
    def start_and_lose_the_reply(self, host: str, slots: int) -> None:
        self.step(slots, host=host)

    @rule(host=hosts, slots=st.integers(1, 4), count=st.integers(1, 4))
    def end_and_start(self, host: str, slots: int, count: int) -> None:
        """What hosts do all the time."""
        done = list(self.held[host].values())[:count]
        expected = [self.expect(run, ACCEPTED) for run in done]
        for run, code in zip(done, expected, strict=True):
            self.settle(run, code)
            self.held[host].pop(run.id, None)
        stepped = self.step(slots, host=host, complete=done)
        assert stepped.outcomes == expected
        for run in stepped.started:
            self.held[host][run.id] = run

    @rule(host=hosts, count=st.integers(1, 3))
    def read_ahead_of_a_step(self, host: str, count: int) -> None:
        self.claimed[host] += self.queue.read_as_node(host, count)
        self.done("none")

    def settle(self, run: Started, code: int) -> None:
        """An outcome was accepted, unless the code says otherwise."""
        if code in (ACCEPTED, RETRYING, FAILED, PUT_OFF):
            self.let_go(run.id, spent=True)

    # -- outcomes

    @precondition(some_have_run)
    @rule(pick=picks, retain=st.sampled_from([False, False, True, 2]))
    def complete(self, pick: int, retain: bool | int) -> None:
        run = self.pick_run(pick)
        assert run is not None
        code = self.expect(run, ACCEPTED)
        assert self.queue.complete(run, retain=retain) == [code]
        self.settle(run, code)
        self.done("step")

    @precondition(some_have_run)
    @rule(
        pick=picks,
        max_attempts=st.sampled_from([-1, 0, 2, 3, 9]),
        delay=st.sampled_from([0, 300]),
        retain=st.sampled_from([False, False, True, 2]),
    )
    def fail(self, pick: int, max_attempts: int, delay: int, retain: bool | int) -> None:
        run = self.pick_run(pick)
        assert run is not None
        made = int(self.picture.jobs.get(run.id, {}).get("attemptsMade", 0))
        again = RETRYING if made + 1 < max_attempts else FAILED
        accepted = PUT_OFF if max_attempts < 0 else again
        code = self.expect(run, accepted)
        ((answer, attempts_made),) = self.queue.fail(
            run, max_attempts=max_attempts, delay=delay, retain=retain
        )
        assert answer == code
        charged = self.holds(run) and code != PUT_OFF
        assert attempts_made == made + charged
        self.settle(run, code)
        self.done("fail")

    @precondition(some_have_run)
    @rule(pick=picks, crash=st.sampled_from([False, False, SUSPECT, KILLED]), tail=st.booleans())
    def release(self, pick: int, crash: bool | str, tail: bool) -> None:
        run = self.pick_run(pick)
        assert run is not None
        crashes = int(self.picture.jobs.get(run.id, {}).get("x-py:crashes", 0)) + (crash == KILLED)
        code = self.expect(run, FAILED if crash == KILLED and crashes >= 3 else ACCEPTED)
        assert self.queue.release(run, crash=crash, tail=tail) == [code]
        if self.holds(run):
            self.lives[run.id].touched = True
            self.let_go(run.id, spent=True, was_run=bool(crash))
        self.done("release")

    @precondition(some_have_run)
    @rule(pick=picks)
    def extend(self, pick: int) -> None:
        run = self.pick_run(pick)
        assert run is not None
        code = self.expect(run, ACCEPTED)
        assert self.queue.extend(run) == [REVOKED if code == FAILED else code]
        self.done("none")

    @precondition(some_have_run)
    @rule(pick=picks, ms=st.sampled_from([0, 300]))
    def move_to_delayed(self, pick: int, ms: int) -> None:
        self.detour("move_to_delayed", pick, self.queue.now + ms, False)

    @precondition(some_have_run)
    @rule(pick=picks, timeout_ms=st.sampled_from([0, 300]))
    def suspend(self, pick: int, timeout_ms: int) -> None:
        self.detour("suspend", pick, False, timeout_ms)

    def detour(self, function: str, pick: int, *arguments: Any) -> None:
        """A run ends without an outcome, by the call of this name."""
        run = self.pick_run(pick)
        assert run is not None
        code = self.expect(run, ACCEPTED)
        assert self.queue.call(function, rows=[[*run.fence, run.entry_id, *arguments]])[2] == [code]
        self.settle(run, code)
        self.done(function)

    # -- recovery, and the clock

    @rule(host=hosts, forgotten=st.integers(0, 2))
    def recover_orphans(self, host: str, forgotten: int) -> None:
        for job_id in list(self.held[host])[:forgotten]:
            del self.held[host][job_id]
        self.claimed[host] = []
        known = list(self.held[host].values())
        lost = set(self.queue.recover_orphans(*known, consumer=host, limit=3))
        for job_id in lost & set(self.current):
            self.lives[job_id].touched = True
            self.let_go(job_id, spent=False, was_run=False)
        self.done("recover_orphans")

    @rule(max_stalled=st.integers(0, 2))
    def recover_stalled(self, max_stalled: int) -> None:
        found = self.queue.recover_stalled(max_stalled=max_stalled, limit=3, lock_ms=LOCK_MS // 3)
        self.note_recovered(found)

    def note_recovered(self, found: dict[str, str]) -> None:
        for claims in self.claimed.values():
            claims.clear()
        for job_id, what in found.items():
            assert what in {"stalled", "failed", "expired", "returned", "dropped"}
            if job_id in self.current and what != "dropped":
                self.lives[job_id].touched = True
                self.let_go(job_id, spent=False)
        self.done("recover_stalled")

    @rule(limit=st.integers(0, 5), prioritized_limit=st.integers(0, 5))
    def promote(self, limit: int, prioritized_limit: int) -> None:
        promoted, expired, _ = self.queue.promote_due(limit, prioritized_limit)
        assert promoted + expired <= limit + prioritized_limit
        self.done("promote_due")

    @rule(ms=st.sampled_from([1, 100, 350, 600, 1_000, 4_000, 11_000]))
    def pass_time(self, ms: int) -> None:
        self.queue.pass_time(ms)
        self.done("none")
