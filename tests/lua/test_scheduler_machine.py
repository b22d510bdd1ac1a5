"""Random lives of schedulers: hosts tick, freeze and resume, runs end in every way, others write meanwhile.

Whatever happens, an `every` slot adds one job, a repeatAfterComplete scheduler has one run at a time, and it goes
on after the end of each.
"""

from __future__ import annotations

import itertools
from typing import Any

import valkey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from glidemq.commands.fire_schedulers import FollowedSlot
from glidemq.options.cron import next_cron_run
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue
from tests.lua.schedules import Schedules

EVERY, MINUTE = 700, 60_000
TOKENS = {"h1": "1" * 16, "h2": "2" * 16}
LOCK_MS = 1_000
TERMINAL = {"completed", "failed"}

hosts = st.sampled_from(sorted(TOKENS))
intervals = st.sampled_from([300, 5_000])
_names = itertools.count()


class SchedulerMachine(RuleBasedStateMachine):
    """Two hosts, one scheduler of each mode, and what must hold on the server."""

    client: valkey.Valkey
    call: Call

    def __init__(self) -> None:
        super().__init__()
        self.queue = DrivenQueue(self.client, f"schedulers-{id(self)}-{next(_names)}", self.call)
        self.schedules = Schedules(self.queue)
        self.begun = self.queue.now
        # What a host was told to follow before it froze, and when the lock that it took then ends.
        self.frozen: dict[str, list[FollowedSlot]] = {host: [] for host in TOKENS}
        self.lock_ends = 0

    @initialize()
    def create(self) -> None:
        self.schedules.upsert("every", every=EVERY)
        self.schedules.upsert("cron", pattern="* * * * *")
        self.schedules.upsert("rac", repeatAfterComplete=5_000)

    def teardown(self) -> None:
        self.assert_that_nothing_sticks()
        keys = [self.queue.key(suffix) for suffix in self.queue.suffixes()]
        if keys:
            self.client.delete(*keys)

    # -- time and hosts

    @rule(ms=st.sampled_from([1, 100, 699, 700, 701, 3_000, 30_000, MINUTE]))
    def pass_time(self, ms: int) -> None:
        self.queue.pass_time(ms)
        if self.queue.now >= self.lock_ends:
            self.schedules.drop_lock()  # the server's clock is not the test's

    @rule(host=hosts)
    def call_once(self, host: str) -> None:
        """A host makes one call of a tick with what it knows, however old that is, and freezes again."""
        tick = self.schedules.tick_once(token=TOKENS[host], lock_ms=LOCK_MS, following=self.frozen[host])
        self.frozen[host] = [
            slot.followed_by(next_cron_run(slot.pattern.decode(), None, tick.now_ms)) for slot in tick.wanted
        ]
        if tick.wanted:
            self.lock_ends = self.queue.now + LOCK_MS

    # -- runs

    def live(self) -> list[str]:
        return [job for job in self.jobs("rac") if self.queue.state(job) not in TERMINAL]

    def jobs(self, name: str) -> list[str]:
        count = int(self.client.get(self.queue.key("id")) or 0)  # type: ignore[arg-type]
        return [
            str(number) for number in range(1, count + 1) if self.queue.field(str(number), "name") == name
        ]

    @rule(how=st.sampled_from(["complete", "remove after", "fail", "retry", "give back", "leave running"]))
    def run_next(self, how: str) -> None:
        for job in self.queue.step(5).started:
            if how == "complete":
                self.queue.complete(job)
            elif how == "remove after":
                self.queue.complete(job, retain=True)
            elif how == "fail":
                self.queue.fail(job)
            elif how == "retry":
                self.queue.fail(job, max_attempts=9, delay=50)
            elif how == "give back":
                self.queue.release(job)

    @rule(how=st.sampled_from(["remove", "revoke", "vanish", "end unseen"]))
    def end_live_run(self, how: str) -> None:
        for job in self.live():
            if how == "vanish":
                self.client.delete(self.queue.key(f"job:{job}"))
            elif how == "end unseen":
                self.schedules.end_unseen(job, "failed", self.queue.now)
            else:
                self.queue.call(how, id=job)

    # -- changes

    @rule(interval=intervals)
    def upsert(self, interval: int) -> None:
        self.schedules.try_upsert("rac", repeatAfterComplete=interval)

    @rule(what=st.sampled_from(["redeploy", "promote", "recover", "lose what is derived"]))
    def keep_house(self, what: str) -> None:
        if what == "redeploy":
            self.schedules.try_upsert("every", every=EVERY)
            self.schedules.try_upsert("cron", pattern="* * * * *")
        elif what == "promote":
            self.queue.promote_due()
        elif what == "recover":
            self.queue.recover_stalled(max_stalled=0)
        else:
            self.client.delete(self.queue.key("x-py:schedulers"), self.queue.key("x-py:scheduler-scan"))

    # -- what must hold

    def slots(self, name: str, period: int, begun: int) -> list[int]:
        stamps = [int(self.queue.field(job, "timestamp") or 0) for job in self.jobs(name)]
        return [(stamp - begun) // period for stamp in stamps]

    @invariant()
    def each_slot_adds_one_job(self) -> None:
        every = self.slots("every", EVERY, self.begun)
        assert len(set(every)) == len(every), every
        cron = self.slots("cron", MINUTE, self.begun - self.begun % MINUTE)
        assert len(set(cron)) == len(cron), cron

    @invariant()
    def schedules_stay_on_their_grids(self) -> None:
        if self.schedules.text("every") is not None:
            assert (self.schedules.next_run("every") - self.begun) % EVERY == 0
            assert self.schedules.next_run("cron") % MINUTE == 0

    @invariant()
    def runs_do_not_overlap(self) -> None:
        assert len(self.live()) <= 1

    def assert_that_nothing_sticks(self) -> None:
        """When hosts tick and run jobs in peace for a while, every scheduler runs again."""
        self.queue.pass_time(LOCK_MS)
        self.schedules.drop_lock()
        seen = int(self.client.get(self.queue.key("id")) or 0)  # type: ignore[arg-type]
        for _ in range(40):
            self.queue.pass_time(2_000)
            self.schedules.tick()
            self.queue.recover_stalled(max_stalled=0)
            self.queue.promote_due()
            self.queue.complete(*self.queue.step(50).started)
        last = int(self.client.get(self.queue.key("id")) or 0)  # type: ignore[arg-type]
        new = {self.queue.field(str(number), "name") for number in range(seen + 1, last + 1)}
        assert {"every", "cron", "rac"} <= new


def test_random_lives_of_schedulers(raw: valkey.Valkey, call: Call) -> None:
    machine: Any = type("Machine", (SchedulerMachine,), {"client": raw, "call": staticmethod(call)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
