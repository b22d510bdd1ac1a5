"""Rules of the people who manage a queue: at any moment, on any job."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.books import Books, names
from tests.model.hosts import picks
from tests.model.moves import ENDED, PLACED
from tests.model.starting import RATE_MS

LEGAL = {
    "change_priority": {"waiting", "delayed", "prioritized"},
    "change_delay": {"waiting", "delayed", "prioritized"},
    "promote_job": {"delayed"},
}
REFUSALS = {"no_op", "invalid_state", "not_in_stream", "not_in_scheduled", "not_delayed"}


def there_are_jobs(self: Any) -> bool:
    return bool(self.lives)


class Operators(Books):
    """Management."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: int | None = None

    # -- single jobs

    @precondition(there_are_jobs)
    @rule(pick=picks, running=st.booleans())
    def revoke(self, pick: int, running: bool) -> None:
        job_id = self.pick_job(pick, *(["active"] if running else sorted(PLACED)))
        assert job_id is not None
        before = self.picture.jobs[job_id]
        reply = self.queue.call("revoke", id=job_id)
        if before["state"] in PLACED:
            assert reply == [b"revoked", False]
            self.lives[job_id].ends += 1
        else:
            again = before["state"] == "failed" and before["failedReason"] == "revoked"
            assert reply[0] == (b"revoked" if again else b"flagged")
            assert self.queue.job(job_id) == {**before, "revoked": "1"}
        self.lives[job_id].revoked = True
        self.done("revoke")

    @precondition(there_are_jobs)
    @rule(pick=picks)
    def remove(self, pick: int) -> None:
        job_id = self.pick_job(pick, *PLACED, "active")
        assert job_id is not None
        assert self.queue.call("remove", id=job_id) == [b"ok", False]
        assert self.queue.call("remove", id=job_id) == [b"missing"]
        self.done("remove")

    @precondition(there_are_jobs)
    @rule(
        pick=picks,
        change=st.sampled_from(
            [
                ("change_priority", {"priority": 0}),
                ("change_priority", {"priority": 1}),
                ("change_priority", {"priority": 7}),
                ("change_delay", {"delay_ms": 0}),
                ("change_delay", {"delay_ms": 400}),
                ("promote_job", {}),
            ]
        ),
    )
    def move(self, pick: int, change: tuple[str, dict[str, int]]) -> None:
        function, arguments = change
        job_id = self.pick_job(pick, *LEGAL[function])
        assert job_id is not None
        before = self.picture.jobs[job_id]
        status = self.queue.call(function, id=job_id, **arguments)[0].decode()
        if status == "ok":
            assert before["state"] in LEGAL[function]
            self.lives[job_id].touched = True
        else:
            assert status in REFUSALS
            assert self.queue.job(job_id) == before
        self.done(function)

    @precondition(there_are_jobs)
    @rule(pick=picks)
    def retry_job(self, pick: int) -> None:
        job_id = self.pick_job(pick, "failed")
        assert job_id is not None
        failed = self.state(job_id) == "failed"
        assert self.queue.call("retry_job", id=job_id) == [b"ok" if failed else b"not_failed"]
        if failed:
            self.note_retry(job_id)
        self.done("retry")

    @rule(count=st.sampled_from([False, 1, 3]))
    def retry_jobs(self, count: int | bool) -> None:
        failed = {job_id for job_id in self.lives if self.state(job_id) == "failed"}
        reply = self.queue.call("retry_jobs", count=count)
        while reply[0] == b"more":
            reply = self.queue.call("retry_jobs", count=count, retried=reply[1], before=reply[2])
        retried = {job_id for job_id in failed if self.queue.state(job_id) != "failed"}
        assert reply == [b"done", len(retried)]
        assert len(retried) == min(len(failed), count or len(failed))
        for job_id in retried:
            self.note_retry(job_id)
        self.done("retry")

    def note_retry(self, job_id: str) -> None:
        life = self.lives[job_id]
        life.retries += 1
        life.touched = life.lost_turn = True

    @precondition(there_are_jobs)
    @rule(pick=picks)
    def signal(self, pick: int) -> None:
        job_id = self.pick_job(pick, "suspended", "suspended", "active")
        assert job_id is not None
        state = self.state(job_id)
        expected = "resumed" if state == "suspended" else "finished" if state in ENDED else "kept"
        reply = self.queue.call("signal", id=job_id, name="go", data="", idem=str(next(names)))
        assert reply == [expected.encode()]
        self.done("signal")

    # -- the queue

    @rule(delayed=st.booleans(), really=st.sampled_from([True, False, False]))
    def drain(self, delayed: bool, really: bool) -> None:
        if not really:  # else most lives would end here
            return
        status, count = self.queue.call("drain", delayed=delayed)
        assert status == b"done"
        self.deleted = count
        self.done("drain")

    @rule(state=st.sampled_from(sorted(ENDED)), grace_ms=st.sampled_from([0, 500]), limit=st.integers(1, 3))
    def clean(self, state: str, grace_ms: int, limit: int) -> None:
        reply = self.queue.call("clean", state=state, grace_ms=grace_ms, limit=limit)
        assert len(reply[1]) <= limit
        self.deleted = len(reply[1])
        self.done("clean")

    def check_deleted(self) -> None:
        """Drain and clean delete as many jobs as they say, and none that runs."""
        deleted, self.deleted = self.deleted, None
        if deleted is not None:
            gone = set(self.before.jobs) - set(self.picture.jobs)
            assert not gone & set(self.current)
            assert len(gone) == deleted

    @rule(pause=st.sampled_from([True, False, False]))
    def pause_or_resume(self, pause: bool) -> None:
        assert self.queue.call("pause" if pause else "resume") == [b"ok"]
        self.paused = pause
        self.done("none")

    @rule(limit=st.sampled_from([0, 0, 2, 4]))
    def set_concurrency(self, limit: int) -> None:
        assert self.queue.call("set_global_concurrency", concurrency=limit) == [b"ok"]
        self.concurrency = limit
        self.done("none")

    @rule(limit=st.sampled_from([0, 0, 2, 5]))
    def set_rate_limit(self, limit: int) -> None:
        members = {"max": limit, "duration_ms": RATE_MS} if limit else {"max": False, "duration_ms": False}
        assert self.queue.call("set_global_rate_limit", **members) == [b"ok"]
        self.rate = limit
        self.starts.clear()  # those before count on the server alone
        self.done("none")

    @rule()
    def name_a_dead_letter_queue(self) -> None:
        assert self.queue.call("set_dead_letter_queue", dead_letters=["dead", False]) == [b"ok"]
        self.dead_letters = True
        self.done("none")
