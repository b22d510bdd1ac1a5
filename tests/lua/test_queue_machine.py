"""Random lives of a queue: whatever hosts do, in whatever order, every job is in exactly one place.

Three hosts add, start, finish, lose and recover jobs at a time that only the test moves. The model knows
one thing about each job: which token may decide about it. After every step the server's structures are
counted.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import valkey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue, Started

HOSTS = ("h1", "h2", "h3")
ACCEPTED, ALREADY, LEASE_LOST, RETRYING, FAILED = 1, 2, 4, 5, 6
TERMINAL = {"completed", "failed"}

hosts = st.sampled_from(HOSTS)
counts = st.integers(0, 5)
slots_wanted = st.integers(1, 5)
kinds = st.sampled_from(
    [
        {},
        {"lifo": 1},
        {"priority": 3},
        {"priority": 1},
        {"delay": 500},
        {"delay": 500, "priority": 2},
        {"delay": 500, "lifo": 1},
        {"ttl": 2_000},
        {"opts": '{"lockDuration":5000}'},
    ]
)

_names = itertools.count()


class QueueMachine(RuleBasedStateMachine):
    """The hosts' side of the protocol, and what must hold on the server's."""

    client: valkey.Valkey
    call: Call
    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.queue = DrivenQueue(self.client, f"machine-{id(self)}-{next(_names)}", self.call)
        self.added: set[str] = set()
        self.holder: dict[str, str] = {}  # job id -> the only token that counts
        self.spent: dict[str, str] = {}  # job id -> the last token whose outcome was recorded
        self.held: dict[str, dict[str, Started]] = {host: {} for host in HOSTS}
        self.claimed: dict[str, list[tuple[str, str]]] = {host: [] for host in HOSTS}
        self.finished: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    @initialize()
    def prepare(self) -> None:
        self.queue.create_group()

    def teardown(self) -> None:
        keys = [self.queue.key(suffix) for suffix in self.queue.suffixes()]
        if keys:
            self.client.unlink(*keys)

    # -- the hosts

    @rule(kind=kinds, count=st.integers(1, 4))
    def add(self, kind: dict[str, Any], count: int) -> None:
        _, ids, _ = self.queue.enqueue(*[self.queue.row(**kind) for _ in range(count)])
        self.added |= {job_id.decode() for job_id in ids}

    @rule(target=runs, host=hosts, slots=slots_wanted, ahead=counts)
    def start(self, host: str, slots: int, ahead: int) -> Any:
        claimed, self.claimed[host] = self.claimed[host], []
        stepped = self.queue.step(slots, ahead=ahead, consumer=host, claimed=claimed)
        assert len(stepped.started) <= slots + ahead
        for run in stepped.started:
            assert run.id not in self.holder, "a job in hand was started again"
            self.holder[run.id] = run.token
            self.spent.pop(run.id, None)
            self.held[host][run.id] = run
        return multiple(*stepped.started)

    @rule(
        host=hosts, outcomes=st.lists(st.sampled_from(["complete", "fail", "retry", "release"]), max_size=4)
    )
    def work_through_what_is_held(self, host: str, outcomes: list[str]) -> None:
        for run, outcome in zip(list(self.held[host].values()), outcomes, strict=False):
            if outcome == "complete":
                self.complete(run)
            elif outcome == "release":
                self.release(run, False, False)
            else:
                self.fail(run, 3 if outcome == "retry" else 0, 0)

    @rule(host=hosts, slots=counts)
    def start_and_lose_the_reply(self, host: str, slots: int) -> None:
        for run in self.queue.step(slots, consumer=host).started:
            assert run.id not in self.holder
            self.holder[run.id] = run.token
            self.spent.pop(run.id, None)

    @rule(host=hosts)
    def read_ahead_of_a_step(self, host: str) -> None:
        self.claimed[host] += self.queue.read_as_node(host)

    def expected(self, run: Started, accepted: int) -> int:
        if self.holder.get(run.id) == run.token:
            return accepted
        return ALREADY if self.spent.get(run.id) == run.token else LEASE_LOST

    def settle(self, run: Started) -> None:
        del self.holder[run.id]
        self.spent[run.id] = run.token
        for jobs in self.held.values():
            if jobs.get(run.id) == run:
                del jobs[run.id]

    @rule(run=runs)
    def complete(self, run: Started) -> None:
        expected = self.expected(run, ACCEPTED)
        assert self.queue.complete(run) == [expected]
        if expected == ACCEPTED:
            self.settle(run)
            self.finished[run.id] += 1

    @rule(run=runs, max_attempts=st.integers(0, 3), delay=st.sampled_from([0, 300]))
    def fail(self, run: Started, max_attempts: int, delay: int) -> None:
        again = self.failures[run.id] + 1 < max_attempts
        expected = self.expected(run, RETRYING if again else FAILED)
        ((code, attempts_made),) = self.queue.fail(run, max_attempts=max_attempts, delay=delay)
        assert code == expected
        if expected in (RETRYING, FAILED):
            self.settle(run)
            self.failures[run.id] += 1
            assert attempts_made == self.failures[run.id]
            self.finished[run.id] += expected == FAILED

    @rule(run=runs, crash=st.sampled_from([False, True, "SIGSEGV"]), tail=st.booleans())
    def release(self, run: Started, crash: bool | str, tail: bool) -> None:
        expected = self.expected(run, ACCEPTED)
        (code,) = self.queue.release(run, crash=crash, tail=tail)
        if expected == ACCEPTED and code == FAILED:
            assert crash == "SIGSEGV"
            self.finished[run.id] += 1
        else:
            assert code == expected
        if expected == ACCEPTED:
            self.settle(run)

    @rule(run=runs)
    def extend(self, run: Started) -> None:
        assert self.queue.extend(run) == [self.expected(run, ACCEPTED)]

    @rule(host=hosts, forgotten=st.integers(0, 2))
    def recover_orphans(self, host: str, forgotten: int) -> None:
        known = list(self.held[host].values())[forgotten:]
        for run in list(self.held[host].values())[:forgotten]:
            del self.held[host][run.id]
        self.claimed[host] = []
        for job_id in self.queue.recover_orphans(*known, consumer=host, limit=3):
            self.holder.pop(job_id, None)
        for run in known:
            if self.holder.get(run.id) == run.token:
                assert self.queue.state(run.id) == "active"

    @rule(max_stalled=st.integers(0, 2))
    def recover_stalled(self, max_stalled: int) -> None:
        for claims in self.claimed.values():
            claims.clear()
        for job_id, what in self.queue.recover_stalled(
            max_stalled=max_stalled, limit=3, lock_ms=10_000
        ).items():
            assert what in {"stalled", "failed", "expired", "returned", "dropped"}
            token = self.holder.pop(job_id, None)
            for jobs in self.held.values():
                if job_id in jobs and jobs[job_id].token == token:
                    del jobs[job_id]
            self.finished[job_id] += what in {"failed", "expired"}

    @rule(limit=counts, prioritized_limit=counts)
    def promote(self, limit: int, prioritized_limit: int) -> None:
        promoted, expired, _ = self.queue.promote_due(limit, prioritized_limit)
        assert promoted + expired <= limit + prioritized_limit

    @rule(ms=st.sampled_from([1, 100, 600, 4_000, 11_000]))
    def pass_time(self, ms: int) -> None:
        self.queue.pass_time(ms)

    @rule(paused=st.sampled_from(["0", "0", "0", "1"]), limit=st.sampled_from(["0", "0", "2", "4"]))
    def set_limits(self, paused: str, limit: str) -> None:
        meta = {"paused": paused, "globalConcurrency": limit}
        self.client.hset(self.queue.key("meta"), mapping=meta)

    # -- the server

    @invariant()
    def every_job_is_in_the_one_place_of_its_state(self) -> None:
        queue = self.queue
        places: dict[str, list[str]] = {job_id: [] for job_id in self.added}
        pending = queue.pending() if queue.client.exists(queue.key("stream")) else {}
        for entry_id, fields in queue.client.xrange(queue.key("stream")):
            owner = pending.pop(entry_id.decode(), None)
            handed_out = owner is not None and owner != "py-returned"
            places[fields[b"jobId"].decode()].append("delivered" if handed_out else "stream")
        assert not pending, "a pending entry without an entry"
        for name in ("lifo", "priority"):
            for job_id in queue.elements(name):
                places[job_id].append("list")
        for name in ("scheduled", "completed", "failed"):
            for job_id in queue.members(name):
                places[job_id].append(name)
        listed = 0
        for host in HOSTS:
            for job_id in queue.members(f"x-py:active:{host}"):
                places[job_id].append("list-active")
                listed += 1
        assert queue.list_active() == listed
        allowed = {
            "waiting": {"stream", "list", "delivered"},
            "active": {"delivered", "list-active"},
            "delayed": {"scheduled"},
            "prioritized": {"scheduled"},
            "completed": {"completed"},
            "failed": {"failed"},
        }
        for job_id, where in places.items():
            state = queue.state(job_id)
            assert state is not None
            assert len(where) == 1, (job_id, state, where)
            assert where[0] in allowed[state], (job_id, state, where)
            assert (state == "active") == (job_id in self.holder), (job_id, state)

    @invariant()
    def no_job_ends_twice(self) -> None:
        queue = self.queue
        ended = [
            event["jobId"] for event in queue.events() if event["event"] in {"completed", "failed", "expired"}
        ]
        assert all(count == 1 for count in Counter(ended).values())
        assert set(ended) == set(queue.members("completed")) | set(queue.members("failed"))
        assert all(count <= 1 for count in self.finished.values())

    @invariant()
    def metrics_count_what_has_ended(self) -> None:
        queue = self.queue
        for kind in ("completed", "failed"):
            counted = sum(count for name, count in queue.metrics(kind).items() if name.endswith(":c"))
            assert counted == len(queue.members(kind))


def test_random_lives_of_a_queue(raw: valkey.Valkey, call: Call) -> None:
    machine = type("Machine", (QueueMachine,), {"client": raw, "call": staticmethod(call)})
    case = machine.TestCase
    case.settings = settings(
        max_examples=60,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case("runTest").runTest()
