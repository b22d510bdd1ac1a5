"""Random lives of one ordering group: it keeps its order and its limits, and it never gets stuck.

Two hosts add, start, finish, lose and recover jobs of the group, people revoke, remove and signal them and pause the
group, at a time that only the test moves. After every step the hashes of all jobs are held against the group's own
books; at the end everything that is left has to run.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import valkey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from tests.lua.conftest import Call
from tests.lua.driven_queue import Started
from tests.lua.grouped_queue import GroupedQueue

HOSTS = ("h1", "h2")
ENDED = {"completed", "failed"}
LOCK_MS = 30_000

kinds = st.sampled_from(
    [
        {}, {}, {}, {"delay": 300}, {"priority": 2}, {"ttl": 400}, {"delay": 500, "ttl": 300}
    ]
)  # fmt: skip
costs = st.sampled_from([None, None, 2_000, 5_000])

_names = itertools.count()


class Limits(NamedTuple):
    """The settings that every add of a machine gives."""

    concurrency: int
    rate: tuple[int, int] | None
    bucket: tuple[int, int] | None


class GroupMachine(RuleBasedStateMachine):
    """The hosts' side, and what must hold on the server's."""

    client: valkey.Valkey
    call: Call
    jobs = Bundle("jobs")
    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.queue = GroupedQueue(self.client, f"group-machine-{id(self)}-{next(_names)}", self.call)
        self.limits = Limits(1, None, None)
        self.sequences: dict[str, int] = {}
        self.started: list[int] = []  # sequences in the order of their first starts
        self.held: dict[str, Started] = {}
        self.reordered = False
        self.paused_until = 0

    @initialize(
        concurrency=st.sampled_from([1, 2, 3]),
        rate=st.sampled_from([None, (2, 500)]),
        bucket=st.sampled_from([None, (5_000, 4_000)]),
    )
    def set_limits(self, concurrency: int, rate: Any, bucket: Any) -> None:
        self.limits = Limits(concurrency, rate, bucket)
        self.queue.create_group()

    # -- producers and people

    @rule(target=jobs, kind=kinds, cost=costs, count=st.integers(1, 3))
    def add(self, kind: dict[str, Any], cost: int | None, count: int) -> Any:
        ids = self.queue.join(count, own=kind, cost=cost, **self.limits._asdict())
        for job_id in ids:
            self.sequences[job_id] = len(self.sequences) + 1
        return multiple(*ids)

    @rule(job_id=jobs, how=st.sampled_from(["revoke", "revoke", "remove", "remove", "retry_job"]))
    def interfere(self, job_id: str, how: str) -> None:
        status = self.queue.call(how, id=job_id)
        if how == "retry_job" and status == [b"ok"]:
            # What was never started may then start behind its successors: its turn has passed.
            self.reordered = True

    @rule(duration=st.sampled_from([1, 700]), extend=st.sampled_from(["max", "replace"]))
    def pause(self, duration: int, extend: str) -> None:
        _, self.paused_until = self.queue.call(
            "rate_limit_group_external", group_key="k", duration_ms=duration, extend=extend
        )

    @rule(job_id=jobs)
    def signal(self, job_id: str) -> None:
        self.queue.call("signal", id=job_id, name="go", data="", idem=str(next(_names)))

    # -- hosts

    def note(self, run: Started) -> None:
        assert self.queue.now >= self.paused_until, "a job has started in a pause"
        seq = self.sequences[run.id]
        if seq not in self.started:
            self.started.append(seq)
        if self.limits.concurrency == 1 and not self.reordered:
            earlier = [job_id for job_id, other in self.sequences.items() if other < seq]
            assert all(self.queue.state(job_id) in {None, *ENDED} for job_id in earlier), (
                "a job has started before one that was added earlier had ended"
            )

    @rule(target=runs, host=st.sampled_from(HOSTS), slots=st.integers(1, 4), ahead=st.integers(0, 3))
    def start(self, host: str, slots: int, ahead: int) -> Any:
        stepped = self.queue.step(slots, ahead=ahead, consumer=host)
        assert len(stepped.started) <= slots + ahead
        for run in stepped.started:
            self.note(run)
            self.held[run.id] = run
        return multiple(*stepped.started)

    @rule(host=st.sampled_from(HOSTS))
    def start_and_lose_the_reply(self, host: str) -> None:
        for run in self.queue.step(2, consumer=host).started:
            self.note(run)

    @rule(run=runs)
    def complete(self, run: Started) -> None:
        self.queue.complete(run)

    @rule(host=st.sampled_from(HOSTS), count=st.integers(1, 3), retries=st.integers(0, 2))
    def end_and_start(self, host: str, count: int, retries: int) -> None:
        """What hosts do all the time."""
        failed = [self.held.pop(job_id) for job_id in list(self.held)[:retries]]
        self.queue.fail(*failed, max_attempts=9, delay=0)
        done = [self.held.pop(job_id) for job_id in list(self.held)[:count]]
        stepped = self.queue.step(count, consumer=host, complete=[self.queue.completion(job) for job in done])
        for run in stepped.started:
            self.note(run)
            self.held[run.id] = run

    @rule(run=runs, max_attempts=st.integers(0, 3), delay=st.sampled_from([0, 300]))
    def fail(self, run: Started, max_attempts: int, delay: int) -> None:
        self.queue.fail(run, max_attempts=max_attempts, delay=delay)

    @rule(run=runs, crash=st.sampled_from([False, True, "SIGSEGV"]), tail=st.booleans())
    def release(self, run: Started, crash: bool | str, tail: bool) -> None:
        self.queue.release(run, crash=crash, tail=tail)

    @rule(
        run=runs,
        current=st.sampled_from(["requeue", "requeue", "fail"]),
        position=st.sampled_from(["front", "front", "back"]),
        extend=st.sampled_from(["max", "replace"]),
    )
    def ask_for_a_pause(self, run: Started, current: str, position: str, extend: str) -> None:
        self.reordered = self.reordered or position == "back"
        row = [*run.fence, run.entry_id, 400, current, position, extend]
        ((_, resume_at),) = self.queue.call("rate_limit_group", rows=[row])[2]
        self.paused_until = resume_at or self.paused_until

    @rule(run=runs, ms=st.sampled_from([0, 300]))
    def move_to_delayed(self, run: Started, ms: int) -> None:
        row = [*run.fence, run.entry_id, self.queue.now + ms, False]
        self.queue.call("move_to_delayed", rows=[row])

    @rule(run=runs, timeout_ms=st.sampled_from([0, 300]))
    def suspend(self, run: Started, timeout_ms: int) -> None:
        self.queue.call("suspend", rows=[[*run.fence, run.entry_id, False, timeout_ms]])

    @rule(run=runs)
    def extend(self, run: Started) -> None:
        self.queue.extend(run)

    @rule(host=st.sampled_from(HOSTS), max_stalled=st.sampled_from([None, 0, 2]))
    def recover(self, host: str, max_stalled: int | None) -> None:
        if max_stalled is None:
            self.queue.recover_orphans(*self.held.values(), consumer=host)
        else:
            self.queue.recover_stalled(max_stalled=max_stalled, lock_ms=LOCK_MS)

    @rule(limit=st.integers(0, 3))
    def promote(self, limit: int) -> None:
        self.queue.promote_due(limit, limit)

    @rule(ms=st.sampled_from([1, 100, 350, 500, 1_000, 31_000]))
    def pass_time(self, ms: int) -> None:
        self.queue.pass_time(ms)

    # -- the server

    def live(self) -> dict[str, dict[str, str]]:
        """The hashes of the jobs that have not ended, by id."""
        hashes = {job_id: self.queue.job(job_id) for job_id in self.sequences}
        return {job_id: job for job_id, job in hashes.items() if job and job["state"] not in ENDED}

    @invariant()
    def no_more_run_than_may(self) -> None:
        running = [job for job in self.live().values() if job["state"] == "active"]
        assert len(running) <= self.limits.concurrency

    @invariant()
    def first_starts_are_in_the_order_of_the_adds(self) -> None:
        if not self.reordered:
            assert self.started == sorted(self.started)

    @invariant()
    def slots_and_sequences_are_booked_right(self) -> None:
        if not self.sequences:
            return
        live, group = self.live(), self.queue.group()
        holders = [job_id for job_id, job in live.items() if job.get("x-py:slot") == "1"]
        assert group.get("active", 0) == len(holders), (group, live)
        for job_id, job in live.items():
            if job["state"] == "active":
                assert job_id in holders
            if job["state"] == "group-waiting":
                assert job_id not in holders
        next_seq = group["nextSeq"]
        assert all(seq < next_seq for seq in self.started)
        waiting = {self.sequences[job_id] for job_id in live}
        for seq in range(next_seq, len(self.sequences) + 1):
            assert seq in waiting or f"skip:{seq}" in group, f"{seq} holds the group for ever"

    @invariant()
    def limits_are_kept(self) -> None:
        group = self.queue.group() if self.sequences else {}
        assert group.get("rateCount", 0) <= group.get("rateMax", 0)
        assert group.get("tbTokens", 0) >= 0

    @invariant()
    def parked_jobs_have_a_reason_to_wait(self) -> None:
        queue = self.queue
        parked = queue.parked()
        for job_id in parked:
            assert queue.state(job_id) == "group-waiting", job_id
        if not parked or "k" in queue.wakes():
            return
        group = queue.group()
        head = self.sequences[parked[0]]
        if any(job["state"] == "waiting" for job in self.live().values()):
            return  # its start, or its end without one, lets the others be looked at
        assert head > group["nextSeq"] or group.get("active", 0) >= group["maxConcurrency"], (
            "nobody will look at the group again"
        )

    @invariant()
    def every_job_is_in_the_one_place_of_its_state(self) -> None:
        queue = self.queue
        places: dict[str, list[str]] = {}
        for name, ids in (
            ("waiting", queue.entries()),
            ("waiting", queue.elements("priority")),
            ("group-waiting", queue.parked()),
            ("delayed", list(queue.members("scheduled"))),
            ("suspended", list(queue.members("suspended"))),
            *((job_id, list(queue.members(f"x-py:active:{job_id}"))) for job_id in HOSTS),
        ):
            for job_id in ids:
                places.setdefault(job_id, []).append(name)
        live = self.live()
        for job_id, job in live.items():
            assert len(places.get(job_id, [])) == 1, (job_id, job, places.get(job_id))
        assert set(places) == set(live)

    # -- the end

    def teardown(self) -> None:
        try:
            self.run_everything_that_is_left()
        finally:
            keys = [self.queue.key(suffix) for suffix in self.queue.suffixes()]
            if keys:
                self.client.unlink(*keys)

    def run_everything_that_is_left(self) -> None:
        queue = self.queue
        for _ in range(40 + 20 * len(self.sequences)):
            live = self.live()
            if not live:
                break
            stepped = queue.step(4, consumer="h1")
            for run in stepped.started:
                self.note(run)
            self.first_starts_are_in_the_order_of_the_adds()
            assert set(queue.complete(*stepped.started, consumer="h1")) <= {1, 6}
            self.no_more_run_than_may()
            for job_id in queue.members("suspended"):
                self.signal(job_id)
            if not stepped.started and not stepped.more:
                # Only time can help now: that which the library names, or else a host that is gone.
                if stepped.next_due >= 0:
                    queue.pass_time(max(stepped.next_due - queue.now, 0))
                else:
                    queue.pass_time(2 * LOCK_MS)
                    queue.recover_stalled(lock_ms=LOCK_MS, max_stalled=99)
        assert not self.live(), "the group is stuck"
        if self.sequences:
            group = queue.group()
            assert (group.get("active", 0), group["nextSeq"]) in {
                (0, len(self.sequences) + 1),
                # Killed at the very end: their markers wait for the next job of the group.
                *((0, seq) for seq in range(1, len(self.sequences) + 1) if f"skip:{seq}" in group),
            }
            assert queue.parked() == []


def test_random_lives_of_a_group(raw: valkey.Valkey, call: Call) -> None:
    machine = type("Machine", (GroupMachine,), {"client": raw, "call": staticmethod(call)})
    case = machine.TestCase
    case.settings = settings(
        max_examples=60,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case("runTest").runTest()
