"""The end of a life: all limits are lifted, every job that is left has to run, and nothing may stay behind."""

from __future__ import annotations

import re

from tests.lua.driven_queue import Started
from tests.model.books import ACCEPTED, HOSTS, LOCK_MS, names
from tests.model.invariants import Invariants
from tests.model.moves import ENDED

DAY_MS = 86_400_000

# What a queue without jobs may keep, for it has a bound of its own (a TTL would be one, too).
KEPT = re.compile(
    r"id|meta|stream|events|metrics:\w+|rate|ordering|group:\w+|list-active|x-py:(bell|cells|dead-letters)"
)


class FinalRun(Invariants):
    """Teardown."""

    def teardown(self) -> None:
        try:
            self.the_server_agrees()
            self.lift_limits()
            self.run_everything_that_is_left()
            self.nothing_stays_behind()
        finally:
            keys = [self.queue.key(suffix) for suffix in self.queue.suffixes()]
            if keys:
                self.client.unlink(*keys)

    def lift_limits(self) -> None:
        self.queue.call("resume")
        self.queue.call("set_global_concurrency", concurrency=0)
        self.queue.call("set_global_rate_limit", max=False, duration_ms=False)
        self.paused, self.concurrency, self.rate = False, 0, 0
        self.the_server_agrees()

    def left(self) -> list[str]:
        return [job_id for job_id in self.lives if self.state(job_id) not in ENDED]

    def run_everything_that_is_left(self) -> None:
        for _ in range(40 + 20 * len(self.lives)):
            if not self.left():
                return
            stepped = self.step(4, host="h1")
            self.the_server_agrees()
            self.complete_all(stepped.started)
            for job_id in self.picture.sets["suspended"]:
                self.queue.call("signal", id=job_id, name="go", data="", idem=str(next(names)))
            self.done("signal")
            self.the_server_agrees()
            if not stepped.started and not stepped.more:
                # Only time can help now: that which the library names, or else a host that is gone.
                if stepped.next_due >= 0:
                    self.queue.pass_time(max(stepped.next_due - self.queue.now, 0))
                else:
                    self.take_over()
        assert not self.left(), "some jobs are never run"

    def complete_all(self, runs: list[Started]) -> None:
        expected = [self.expect(run, ACCEPTED) for run in runs]
        assert self.queue.complete(*runs) == expected
        for run, code in zip(runs, expected, strict=True):
            self.settle(run, code)
        self.done("step")
        self.the_server_agrees()

    def take_over(self) -> None:
        """The hosts that are gone lose what they had."""
        self.queue.pass_time(2 * LOCK_MS)
        found = self.queue.recover_stalled(lock_ms=LOCK_MS, max_stalled=99)
        self.note_recovered(found)
        self.the_server_agrees()

    def nothing_stays_behind(self) -> None:
        for state in sorted(ENDED):
            assert self.queue.call("clean", state=state, grace_ms=0, limit=1_000_000)
        self.done("clean")
        self.deleted = None
        self.the_server_agrees()
        assert not self.lives
        for _ in range(3):
            self.queue.pass_time(DAY_MS)
            self.queue.call("check_parents", limit=100)
            self.queue.recover_stalled(lock_ms=LOCK_MS)
            assert self.queue.step(4, consumer=HOSTS[0]).started == []
        for key, group in self.picture.groups.items():
            markers = [name for name in group if name.startswith("skip:")]
            assert group.get("active", "0") == "0", key
            assert len(markers) + int(group.get("nextSeq", 1)) <= self.groups[key].issued + 1, (key, group)
        for suffix in self.queue.suffixes():
            bounded = KEPT.fullmatch(suffix) or self.client.pttl(self.queue.key(suffix)) > 0
            assert bounded, f"{suffix} is left behind"
        assert self.client.xlen(self.queue.key("stream")) == 0
