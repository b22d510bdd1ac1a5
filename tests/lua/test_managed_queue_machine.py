"""Random lives of a queue that is managed while hosts work on it: jobs are revoked, moved, retried, drained, cleaned.

To the hosts' side of `test_queue_machine` come an operator's calls, at any moment and on any job. The same must
hold after every step: each job is in the one place of its state, and its ends are counted once.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import valkey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from tests.lua.conftest import Call
from tests.lua.driven_queue import Started
from tests.lua.test_queue_machine import ACCEPTED, FAILED, TERMINAL, QueueMachine, hosts

WAITING = {"waiting", "delayed", "prioritized"}
LEGAL = {
    "change_priority": WAITING,
    "change_delay": WAITING,
    "promote_job": {"delayed"},
    "retry_job": {"failed"},
}
REFUSALS = {"no_op", "invalid_state", "not_in_stream", "not_in_scheduled", "not_delayed", "not_failed"}
ENDS = {"completed", "failed", "expired"}


class ManagedQueueMachine(QueueMachine):
    """The operator's side, and what changes for the hosts when a job was revoked."""

    runs = QueueMachine.runs

    def __init__(self) -> None:
        super().__init__()
        self.revoked: set[str] = set()
        self.failed_by_revocation: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()  # by event; the numbers of jobs that are gone are kept

    # -- the operator

    def any_job(self, data: Any, states: set[str]) -> str:
        """Mostly one in these states, if there is one."""
        fitting = [job_id for job_id in sorted(self.added) if self.queue.state(job_id) in states]
        if fitting and data.draw(st.sampled_from([True, True, False])):
            return str(data.draw(st.sampled_from(fitting)))
        return str(data.draw(st.sampled_from(sorted(self.added))))

    @precondition(lambda self: self.added)
    @rule(data=st.data())
    def revoke_any(self, data: Any) -> None:
        self.revoke(self.any_job(data, WAITING))

    @rule(run=runs)
    def revoke_what_ran(self, run: Started) -> None:
        if run.id in self.added:
            self.revoke(run.id)

    def revoke(self, job_id: str) -> None:
        before = self.queue.job(job_id)
        reply = self.queue.call("revoke", id=job_id)
        if before["state"] in WAITING:
            assert reply == [b"revoked", False]
            self.failed_by_revocation[job_id] += 1
            assert self.queue.state(job_id) == "failed"
        else:
            again = before["state"] == "failed" and before["failedReason"] == "revoked"
            assert reply[0] == (b"revoked" if again else b"flagged")
            assert self.queue.job(job_id) == {**before, "revoked": "1"}
        self.revoked.add(job_id)

    @precondition(lambda self: self.added)
    @rule(
        data=st.data(),
        change=st.sampled_from(
            [
                ("change_priority", {"priority": 0}),
                ("change_priority", {"priority": 1}),
                ("change_priority", {"priority": 7}),
                ("change_delay", {"delay_ms": 0}),
                ("change_delay", {"delay_ms": 400}),
                ("promote_job", {}),
                ("retry_job", {}),
            ]
        ),
    )
    def move(self, data: Any, change: tuple[str, dict[str, int]]) -> None:
        function, arguments = change
        job_id = self.any_job(data, LEGAL[function])
        before = self.queue.job(job_id)
        status = self.queue.call(function, id=job_id, **arguments)[0].decode()
        if status != "ok":
            assert status in REFUSALS
            assert self.queue.job(job_id) == before
        elif function == "retry_job":
            assert before["state"] == "failed"
            self.retries[job_id] += 1
            self.failures[job_id] = 0
            self.finished[job_id] = 0
        else:
            assert before["state"] in WAITING
            assert self.queue.state(job_id) in WAITING

    @rule(delayed=st.booleans(), now=st.sampled_from([True, False, False]))
    def drain(self, delayed: bool, now: bool) -> None:
        if not now:  # else most lives would end here
            return
        status, count = self.queue.call("drain", delayed=delayed)
        assert status == b"done"
        assert self.forget_the_gone() == count

    @rule(
        state=st.sampled_from(sorted(TERMINAL)), grace_ms=st.sampled_from([0, 500]), limit=st.integers(1, 3)
    )
    def clean(self, state: str, grace_ms: int, limit: int) -> None:
        reply = self.queue.call("clean", state=state, grace_ms=grace_ms, limit=limit)
        assert len(reply[1]) <= limit
        assert self.forget_the_gone() == len(reply[1])

    def forget_the_gone(self) -> int:
        gone = {
            job_id for job_id in self.added if not self.queue.client.exists(self.queue.key(f"job:{job_id}"))
        }
        assert not gone & set(self.holder), "a running job was deleted"
        self.added -= gone
        return len(gone)

    @rule(limit=st.sampled_from([0, 2, 5]))
    def set_rate_limit(self, limit: int) -> None:
        arguments = {"max": limit, "duration_ms": 700} if limit else {"max": False, "duration_ms": False}
        self.queue.call("set_global_rate_limit", **arguments)

    # -- the hosts of revoked jobs

    def ends_as_revoked(self, run: Started) -> bool:
        return run.id in self.revoked and self.holder.get(run.id) == run.token

    def ended(self, run: Started) -> None:
        self.settle(run)
        assert self.queue.field(run.id, "failedReason") == "revoked"

    @rule(
        host=hosts,
        outcomes=st.lists(st.sampled_from(["complete", "move", "release", "fail", "lose"]), max_size=4),
    )
    def start_and_learn_of_revocations_at_the_end(self, host: str, outcomes: list[str]) -> None:
        self.start(host, 4, 0)
        for run, outcome in zip(list(self.held[host].values()), outcomes, strict=False):
            if self.holder.get(run.id) != run.token:
                continue
            self.revoke(run.id)
            if outcome == "complete":
                self.complete(run)
            elif outcome == "move":
                self.move_to_delayed(run, 0)
            elif outcome == "release":
                self.release(run, False, False)
            elif outcome == "fail":
                self.fail(run, 3, 0)

    @rule(run=runs)
    def complete(self, run: Started) -> None:
        if self.ends_as_revoked(run):
            assert self.queue.complete(run) == [FAILED]
            self.ended(run)
        else:
            super().complete(run)

    @rule(run=runs, max_attempts=st.integers(0, 3), delay=st.sampled_from([0, 300]))
    def fail(self, run: Started, max_attempts: int, delay: int) -> None:
        if self.ends_as_revoked(run):
            assert self.queue.fail(run, max_attempts=max_attempts, delay=delay)[0][0] == FAILED
            self.ended(run)
        else:
            super().fail(run, max_attempts, delay)

    @rule(run=runs, crash=st.sampled_from([False, True, "SIGSEGV"]), tail=st.booleans())
    def release(self, run: Started, crash: bool | str, tail: bool) -> None:
        if self.ends_as_revoked(run):
            assert self.queue.release(run, crash=crash, tail=tail) == [FAILED]
            self.ended(run)
        else:
            super().release(run, crash, tail)

    @rule(run=runs)
    def extend(self, run: Started) -> None:
        if self.ends_as_revoked(run):
            assert self.queue.extend(run) == [7]
        elif run.id in self.added:
            super().extend(run)

    @rule(run=runs, delay=st.sampled_from([0, 400]))
    def move_to_delayed(self, run: Started, delay: int) -> None:
        revoked = self.ends_as_revoked(run)
        expected = self.expected(run, FAILED if revoked else ACCEPTED)
        row = [*run.fence, run.entry_id, self.queue.now + delay, False]
        assert self.queue.call("move_to_delayed", rows=[row])[2] == [expected]
        if revoked:
            self.ended(run)
        elif expected == ACCEPTED:
            self.settle(run)

    def expected(self, run: Started, accepted: int) -> int:
        return super().expected(run, accepted) if run.id in self.added else 3

    # -- the server

    @invariant()
    def no_job_ends_twice(self) -> None:
        """Each end of a job is told once, by its event, or was a revocation; a retry makes room for another."""
        told = Counter(event["jobId"] for event in self.queue.events() if event["event"] in ENDS)
        for job_id in self.added:
            ends = told[job_id] + self.failed_by_revocation[job_id]
            assert ends == self.retries[job_id] + (self.queue.state(job_id) in TERMINAL), job_id

    @invariant()
    def metrics_count_what_has_ended(self) -> None:
        told = Counter(event["event"] for event in self.queue.events())
        expected = {"completed": told["completed"], "failed": told["failed"] + told["expired"]}
        for kind, ends in expected.items():
            counters = self.queue.metrics(kind)
            assert sum(count for name, count in counters.items() if name.endswith(":c")) == ends


def test_random_lives_of_a_managed_queue(raw: valkey.Valkey, call: Call) -> None:
    machine = type("Machine", (ManagedQueueMachine,), {"client": raw, "call": staticmethod(call)})
    case = machine.TestCase
    case.settings = settings(
        max_examples=60,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case("runTest").runTest()
