"""Random lives of deduplicated jobs, against a model that remembers everything for ever.

What the library forgets must never make a difference: each add is accepted or skipped as the model says, each job
exists or not as the model says, and each accepted job that was not replaced runs.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import valkey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue, Started

SECOND, MINUTE = 1_000, 60_000
# Every id keeps to its mode, as a user's would: id -> (mode, window, what else the job is added with).
IDS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "simple": ("simple", 0, {}),
    "simple in a group": ("simple", 0, {"ordering": {"key": "g"}}),
    "throttle": ("throttle", 5 * SECOND, {}),
    "throttle:long": ("throttle", 10 * MINUTE, {}),
    "debounce": ("debounce", SECOND, {}),
    "debounce in a group": ("debounce", SECOND, {"ordering": {"key": "g"}}),
}
_names = itertools.count()


@dataclass
class Accepted:
    """The model's memory of the last accepted add of an id."""

    job: str
    at: int


class DeduplicationMachine(RuleBasedStateMachine):
    """One queue, and what must hold on the server."""

    client: Any
    call: Call

    def __init__(self) -> None:
        super().__init__()
        self.queue = DrivenQueue(self.client, f"dedup-{id(self)}-{next(_names)}", self.call)
        self.last: dict[str, Accepted] = {}
        self.existing: set[str] = set()
        self.unstarted: set[str] = set()
        self.retrying: set[str] = set()
        self.running: list[Started] = []

    def teardown(self) -> None:
        self.run_everything()
        keys = [self.queue.key(suffix) for suffix in self.queue.suffixes()]
        if keys:
            self.client.delete(*keys)

    def is_accepted(self, dedup_id: str) -> bool:
        mode, ttl, _ = IDS[dedup_id]
        last = self.last.get(dedup_id)
        if last is None or mode == "debounce":
            return True
        if mode == "simple":
            return last.job not in self.existing
        return self.queue.now - last.at >= ttl

    @rule(dedup_id=st.sampled_from(sorted(IDS)))
    def add(self, dedup_id: str) -> None:
        mode, ttl, extra = IDS[dedup_id]
        accepted, last = self.is_accepted(dedup_id), self.last.get(dedup_id)
        member = {"id": dedup_id, "mode": mode, "ttl_ms": ttl}
        _, [job_id], _ = self.queue.enqueue(self.queue.row(extra={"dedup": member, **extra}))
        assert bool(job_id) == accepted, (dedup_id, last)
        if not accepted:
            return
        if mode == "debounce" and last is not None and last.job in self.unstarted:
            self.unstarted.discard(last.job)
            self.existing.discard(last.job)
        job = job_id.decode()
        self.last[dedup_id] = Accepted(job, self.queue.now)
        self.existing.add(job)
        self.unstarted.add(job)

    @rule(ms=st.sampled_from([1, 999, SECOND, 4 * SECOND, MINUTE, 9 * MINUTE, 3_600_000]))
    def pass_time(self, ms: int) -> None:
        self.queue.pass_time(ms)

    @rule(slots=st.integers(1, 3))
    def start(self, slots: int) -> None:
        for job in self.queue.step(slots).started:
            assert job.id in self.unstarted | self.retrying
            self.unstarted.discard(job.id)
            self.retrying.discard(job.id)
            self.running.append(job)

    @rule()
    def promote(self) -> None:
        self.queue.promote_due()

    @rule(how=st.sampled_from(["complete", "complete and remove", "fail and remove", "retry", "retry later"]))
    def end_run(self, how: str) -> None:
        if not self.running:
            return
        job = self.running.pop(0)
        if how.startswith("complete"):
            self.queue.complete(job, retain=how.endswith("remove"))
        elif how.startswith("fail"):
            self.queue.fail(job, retain=True)
        else:
            self.queue.fail(job, max_attempts=1000, delay=2 * SECOND if how.endswith("later") else 0)
            self.retrying.add(job.id)
        if how.endswith("remove"):
            self.existing.discard(job.id)

    @rule(dedup_id=st.sampled_from(sorted(IDS)))
    def remove(self, dedup_id: str) -> None:
        """Whatever the last job of an id does, nobody wants it any more."""
        last = self.last.get(dedup_id)
        if last is not None and last.job in self.existing:
            self.queue.call("remove", id=last.job)
            self.running = [job for job in self.running if job.id != last.job]
            for jobs in (self.existing, self.unstarted, self.retrying):
                jobs.discard(last.job)

    @rule()
    def prune(self) -> None:
        # Leases are kept: only what is no job's any more is looked through.
        self.queue.extend(*self.running)
        assert self.queue.recover_stalled() == {}

    @rule(dedup_id=st.sampled_from(sorted(IDS)), ms=st.sampled_from([0, SECOND, MINUTE]))
    def remove_prune_and_add(self, dedup_id: str, ms: int) -> None:
        """What matters most when something was forgotten too early, or kept for too long."""
        self.add(dedup_id)
        self.remove(dedup_id)
        self.pass_time(ms)
        self.prune()
        self.add(dedup_id)

    @invariant()
    def jobs_exist_as_the_model_says(self) -> None:
        found = {suffix.removeprefix("job:") for suffix in self.queue.suffixes() if suffix.startswith("job:")}
        assert found == self.existing

    @invariant()
    def every_entry_is_looked_at_some_day(self) -> None:
        stored = self.client.hgetall(self.queue.key("dedup"))
        entries = {f"{value.decode().split(':')[0]}:{name.decode()}" for name, value in stored.items()}
        assert entries == set(self.queue.members("x-py:dedup"))

    def run_everything(self) -> None:
        """In peace, every job that was not replaced runs, and what is kept of removed ones goes."""
        for _ in range(60):
            self.queue.pass_time(2 * SECOND)
            self.queue.promote_due()
            self.queue.complete(*self.running, retain=True)
            self.existing -= {job.id for job in self.running}
            self.running = self.queue.step(20).started
            self.unstarted -= {job.id for job in self.running}
            self.retrying -= {job.id for job in self.running}
            if not self.running and not self.unstarted | self.retrying:
                break
        assert not self.unstarted | self.retrying
        for job_id in sorted(self.existing):
            self.queue.call("remove", id=job_id)
        for _ in range(3):
            self.queue.pass_time(7 * 86_400_000)
            self.queue.recover_stalled()
        assert not {"dedup", "x-py:dedup"} & set(self.queue.suffixes())


def test_random_lives_of_deduplicated_jobs(raw: valkey.Valkey, call: Call) -> None:
    machine: Any = type("Machine", (DeduplicationMachine,), {"client": raw, "call": staticmethod(call)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
