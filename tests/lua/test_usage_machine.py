"""Random reports of random runs: jobs, buckets and a plain sum agree after every step.

Jobs start, report, report again, fail, crash and complete, and people report from outside, at a time that only the test
moves. What each run of a job said last is kept in a plain table; all sums must follow from it.
"""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import valkey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue, Started

MINUTE_MS = 60_000
CATEGORIES = ("input", "output", "reasoning")
MODELS = ("a", "b", "c")

amounts = st.dictionaries(st.sampled_from(CATEGORIES), st.integers(1, 1000), min_size=1)
_names = itertools.count()


class UsageMachine(RuleBasedStateMachine):
    """The plain table is `said`: job -> run -> (model, tokens); a run is named by its token, "" before the first."""

    client: valkey.Valkey
    call: Call

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, dict[str, tuple[str, dict[str, int]]]] = {}
        self.last_run: dict[str, str] = {}
        self.running: dict[str, Started] = {}

    @initialize()
    def open(self) -> None:
        self.driven = DrivenQueue(self.client, f"usage-{next(_names)}", self.call)

    def jobs(self) -> list[str]:
        return sorted(self.last_run)

    # -- what happens to jobs ----------------------------------------------------------------------------

    @rule()
    def add(self) -> None:
        self.last_run[self.driven.add()] = ""

    @rule(count=st.integers(1, 3))
    def start(self, count: int) -> None:
        for job in self.driven.step(count).started:
            self.running[job.id] = job
            self.last_run[job.id] = job.token

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["complete", "fail", "retry", "crash"]))
    def end(self, data: st.DataObject, how: str) -> None:
        job = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        if how == "complete":
            assert self.driven.complete(job) == [1]
        elif how == "crash":
            self.driven.release(job, crash="SIGSEGV", max_crashes=100)
        else:
            self.driven.fail(job, max_attempts=100 if how == "retry" else 0)

    @rule(minutes=st.integers(0, 2))
    def pass_time(self, minutes: int) -> None:
        self.driven.pass_time(minutes * MINUTE_MS + 1)

    # -- reports -----------------------------------------------------------------------------------------

    def report(self, job_id: str, token: str, model: str, tokens: dict[str, int]) -> bytes:
        reply = self.driven.call(
            "report_usage",
            id=job_id,
            token=token or False,
            usage={"model": model, "totalTokens": sum(tokens.values())},
            tokens=tokens,
            costs={},
            events=False,
        )
        status: bytes = reply[0]
        return status

    @precondition(lambda self: self.running)
    @rule(data=st.data(), model=st.sampled_from(MODELS), tokens=amounts)
    def report_as_the_run(self, data: st.DataObject, model: str, tokens: dict[str, int]) -> None:
        job = self.running[data.draw(st.sampled_from(sorted(self.running)))]
        assert self.report(job.id, job.token, model, tokens) == b"ok"
        self.said.setdefault(job.id, {})[job.token] = (model, tokens)

    @precondition(lambda self: self.last_run)
    @rule(data=st.data(), model=st.sampled_from(MODELS), tokens=amounts)
    def report_from_outside(self, data: st.DataObject, model: str, tokens: dict[str, int]) -> None:
        job_id = data.draw(st.sampled_from(self.jobs()))
        assert self.report(job_id, "", model, tokens) == b"ok"
        run = (self.driven.field(job_id, "x-py:run") or "").lstrip("-~")
        self.said.setdefault(job_id, {})[run] = (model, tokens)

    @precondition(lambda self: self.last_run)
    @rule(data=st.data())
    def report_as_a_stranger(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(self.jobs()))
        assert self.report(job_id, "another run", "a", {"input": 5}) == b"lease_lost"

    # -- what must hold ----------------------------------------------------------------------------------

    @invariant()
    def every_job_has_used_what_its_runs_have(self) -> None:
        for job_id, runs in self.said.items():
            tokens = added_up([tokens for _, tokens in runs.values()])
            assert orjson.loads(self.driven.field(job_id, "usage:tokens") or "") == tokens
            assert self.driven.field(job_id, "usage:totalTokens") == str(sum(tokens.values()))

    @invariant()
    def buckets_hold_every_run_once(self) -> None:
        if not self.said:
            return
        sums: dict[str, int] = {}
        for suffix in self.driven.suffixes():
            if suffix.startswith("usage:"):
                for field, value in self.driven.client.hgetall(self.driven.key(suffix)).items():
                    sums[field.decode()] = sums.get(field.decode(), 0) + int(value)
        runs = [run for runs in self.said.values() for run in runs.values()]
        tokens = added_up([tokens for _, tokens in runs])
        expected = {f"tokens:{category}": amount for category, amount in tokens.items()}
        expected |= {"totalTokens": sum(tokens.values()), "jobCount": len(self.said)}
        models = [model for runs in self.said.values() for model in {model for model, _ in runs.values()}]
        expected |= {f"models:{model}": models.count(model) for model in set(models)}
        assert {field: value for field, value in sums.items() if value} == expected


def added_up(parts: list[dict[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for part in parts:
        for category, amount in part.items():
            sums[category] = sums.get(category, 0) + amount
    return sums


def test_random_reports_are_counted_once(library: None, raw: valkey.Valkey, call: Call) -> None:
    machine: Any = type("Machine", (UsageMachine,), {"client": raw, "call": staticmethod(call)})
    checks: Any = HealthCheck
    machine.TestCase.settings = settings(
        max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(checks)
    )
    machine.TestCase().runTest()
