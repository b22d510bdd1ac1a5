"""How a start is written down, and what must be true of it: who may start, in which order, within which limits."""

from __future__ import annotations

from typing import Any

from tests.lua.driven_queue import Started, Stepped
from tests.model.books import Books, GroupBooks, Life
from tests.model.moves import ENDED

RATE_MS = 700
CLASS = 2**42  # scores of one priority


class Starting(Books):
    """Every step of every host goes through `step`."""

    def __init__(self) -> None:
        super().__init__()
        self.step_claims: set[str] = set()
        self.step_started: list[str] = []
        self.step_is_last = False  # it said that nothing more could start
        self.must_have_ended: set[str] = set()

    def step(self, slots: int, *, ahead: int = 0, host: str, complete: Any = ()) -> Stepped:
        """Step, write down what started, and judge it against the pictures before and after."""
        claimed, self.claimed[host] = self.claimed[host], []
        stepped = self.queue.step(
            slots,
            ahead=ahead,
            consumer=host,
            claimed=claimed,
            complete=[self.queue.completion(run) for run in complete],
        )
        assert len(stepped.started) <= slots + ahead
        assert not (self.paused and stepped.started), "a job has started in a paused queue"
        for run in stepped.started:
            self.note_start(run)
        self.step_claims = {job_id for _, job_id in claimed}
        self.step_started = [run.id for run in stepped.started]
        self.step_is_last = slots > 0 and not stepped.more and not self.paused
        self.done("step")
        return stepped

    def note_start(self, run: Started) -> None:
        life = self.lives[run.id]
        assert life.holder is None, "a job in hand was started again"
        assert self.state(run.id) not in ENDED, "a job has started after its end"
        life.holder, life.spent = run.token, None
        self.runs.append(run)
        self.current[run.id] = run
        if self.rate:
            self.starts[run.token] = self.queue.now
        if life.group is not None:
            self.note_start_in_group(life, self.groups[life.group], run.token)
        life.starts += 1

    def note_start_in_group(self, life: Life, group: GroupBooks, token: str) -> None:
        assert self.queue.now >= group.paused_until, "a job has started while its group was paused"
        group.starts[token] = (self.queue.now, life.cost)
        if life.starts == 0 and not life.lost_turn:
            assert life.seq > group.last_first_start, "a job has overtaken an earlier one of its group"
            group.last_first_start = life.seq
        if group.loosened:
            return
        for other in self.lives.values():
            if other.group == life.group and other.seq < life.seq and not other.lost_turn:
                # Its state may have changed in this very call: whether it has, the next picture tells.
                self.must_have_ended.add(other.id)

    # -- after the step, with the next picture

    def check_starts(self) -> None:
        """To be called when the picture after an action has been taken."""
        for job_id in self.must_have_ended:
            assert self.state(job_id) in {None, *ENDED}, "a job has started before an earlier one had ended"
        self.must_have_ended.clear()
        started, self.step_started = self.step_started, []
        if self.step_is_last:
            self.step_is_last = False
            self.check_nothing_is_left()
        if started:
            self.check_fifo(started)
            self.check_urgency(started)
            self.check_rate()

    def check_nothing_is_left(self) -> None:
        """Hosts that were told so sleep until something wakes them."""
        picture, now = self.picture, self.queue.now
        assert not any(picture.lists.values()), picture.lists
        assert not [job_id for entry_id, job_id in picture.entries if not picture.holder(entry_id)]
        due = [job_id for job_id, score in picture.sets["scheduled"].items() if score % CLASS <= now]
        assert not due, f"{due} are due"

    def check_fifo(self, started: list[str]) -> None:
        """Plain jobs start in the order of their adds, and none is left out."""
        waiting = [job_id for job_id in self.before.undelivered() if self.was_plain(job_id, started)]
        fresh = [job_id for job_id in started if job_id in waiting]
        assert fresh == waiting[: len(fresh)], "plain jobs have started out of order"
        numbers = [self.lives[job_id].number for job_id in waiting]
        assert numbers == sorted(numbers), "plain jobs wait out of order"

    def was_plain(self, job_id: str, started: list[str]) -> bool:
        """Added without anything, and neither moved nor started before this step."""
        life = self.lives.get(job_id)
        return life is not None and life.is_plain and life.starts == (job_id in started)

    def check_urgency(self, started: list[str]) -> None:
        """1 to 2048 start before LIFO, and LIFO before all others."""
        before, after = self.before, self.picture

        def priorities(ids: list[str]) -> list[int]:
            return [int(before.jobs[job_id]["priority"]) for job_id in ids]

        prioritized = [job_id for job_id in before.jobs if before.state(job_id) == "prioritized"]
        classes = priorities([job_id for job_id in started if job_id in prioritized])
        assert classes == sorted(classes), "priorities have started out of order"
        left = [job_id for job_id in prioritized if after.state(job_id) == "prioritized"]
        assert not classes or not left or max(classes) <= min(priorities(left)), "a more urgent job was left"
        # A job of a group may have been parked and let go again in this very step.
        listed = [job_id for job_id in before.lists["priority"] if not self.lives[job_id].group]
        left += [job_id for job_id in listed if job_id in after.lists["priority"]]
        from_lifo = [job_id for job_id in started if job_id in before.lists["lifo"]]
        from_stream = set(started) & set(before.undelivered()) - self.step_claims
        assert not left or (not from_lifo and not from_stream), f"prioritized jobs were left behind: {left}"
        left = [job_id for job_id in before.lists["lifo"] if job_id in after.lists["lifo"]]
        assert not left or not from_stream, f"LIFO jobs were left behind: {left}"

    def check_rate(self) -> None:
        if self.rate:
            opened = int(self.picture.rate["windowStart"])
            if opened != self.window_opened:
                self.window_opened, self.foreign_refunds = opened, 0
            in_window = [at for at in self.starts.values() if at >= opened]
            assert len(in_window) <= self.rate + self.foreign_refunds, (
                "more jobs have started than the rate limit allows"
            )

    def check_limits(self) -> None:
        """No more run than may; when a limit was lowered, those that ran run on, elsewhere if their host has died."""
        running = {job_id for job_id, job in self.picture.jobs.items() if job["state"] == "active"}
        ran = {job_id for job_id, job in self.before.jobs.items() if job["state"] == "active"}
        if self.concurrency:
            assert len(running) <= max(self.concurrency, len(ran)), "too many jobs run"
        ran |= {job_id for job_id, job in self.before.jobs.items() if job.get("x-py:slot") == "1"}
        for key, group in self.groups.items():
            mine = {job_id for job_id, life in self.lives.items() if life.group == key}
            assert len(running & mine) <= max(group.concurrency, len(ran & mine)), "too many of a group run"
            self.check_group_limits(key, group)

    def check_group_limits(self, key: str, group: GroupBooks) -> None:
        stored = self.picture.groups[key]
        if group.rate and "rateWindowStart" in stored:
            opened = int(stored["rateWindowStart"])
            in_window = [at for at, _ in group.starts.values() if at >= opened]
            assert len(in_window) <= group.rate[0], "more of a group have started than its window allows"
        if group.bucket and stored:
            capacity, per_second = group.bucket
            spent = sum(cost for _, cost in group.starts.values())
            inflow = (self.queue.now - group.opened_at) * per_second / 1_000
            assert spent <= capacity + inflow, "a group has spent more than its bucket held"
            assert int(stored.get("tbTokens", 0)) >= 0
