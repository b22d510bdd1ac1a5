"""Rules of ordering groups beyond their jobs: pauses from within and without, other settings."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.books import ACCEPTED, NO_GROUP
from tests.model.hosts import Hosts, picks, some_have_run

extensions = st.sampled_from(["max", "replace"])


class Groups(Hosts):
    """Pauses and settings."""

    @precondition(lambda self: self.groups)
    @rule(pick=picks, duration=st.sampled_from([1, 700]), extend=extensions)
    def pause_a_group(self, pick: int, duration: int, extend: str) -> None:
        key = sorted(self.groups)[pick % len(self.groups)]
        status, resume_at = self.queue.call(
            "rate_limit_group_external", group_key=key, duration_ms=duration, extend=extend
        )
        assert status == b"ok"
        self.groups[key].paused_until = resume_at
        self.done("none")

    @precondition(some_have_run)
    @rule(
        pick=picks,
        current=st.sampled_from(["requeue", "requeue", "fail"]),
        position=st.sampled_from(["front", "front", "back"]),
        extend=extensions,
    )
    def ask_for_a_pause(self, pick: int, current: str, position: str, extend: str) -> None:
        run = self.pick_run(pick)
        assert run is not None
        life = self.lives.get(run.id)
        code = self.expect(run, ACCEPTED)
        if life is not None and self.holds(run) and life.group is None:
            code = NO_GROUP
        row = [*run.fence, run.entry_id, 400, current, position, extend]
        ((answer, resume_at),) = self.queue.call("rate_limit_group", rows=[row])[2]
        assert answer == code
        if self.holds(run) and life is not None and life.group is not None:
            self.groups[life.group].paused_until = resume_at
            life.lost_turn = life.lost_turn or position == "back"
            self.settle(run, code)
        self.done("rate_limit_group")

    @precondition(lambda self: self.groups)
    @rule(pick=picks, concurrency=st.integers(1, 3))
    def change_concurrency(self, pick: int, concurrency: int) -> None:
        """By the next add, as always."""
        key = sorted(self.groups)[pick % len(self.groups)]
        self.groups[key].concurrency = concurrency
        self.open_group(key)
        for job_id in self.queue.join(key=key, **self.groups[key].settings()):
            self.born(job_id, {}, key)
        self.done("enqueue")
