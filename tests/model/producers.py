"""Rules of those who add jobs: every kind of job, alone, in groups, deduplicated, repeated after a lost reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.books import Books, names

SECOND = 1_000

# How a job is added, apart from groups: members of a row.
KINDS: list[dict[str, Any]] = [
    {},
    {},
    {},
    {"lifo": 1},
    {"priority": 3},
    {"priority": 1},
    {"delay": 500},
    {"delay": 500, "priority": 2},
    {"delay": 500, "lifo": 1},
    {"ttl": 2_000},
    {"ttl": 400, "priority": 2},
    {"delay": 500, "ttl": 300},
    {"opts": '{"lockDuration":5000}'},
    {"opts": '{"removeOnFail":true}'},
    {"opts": '{"removeOnFail":true}', "ttl": 300, "priority": 1},
]
GROUP_KINDS = [kind for kind in KINDS if "lifo" not in kind]

# Every deduplication id keeps to its mode, as a user's would: id -> (mode, window).
DEDUPLICATION = {
    "simple": ("simple", 0),
    "throttle": ("throttle", 2 * SECOND),
    "debounce": ("debounce", SECOND),
    "debounce grouped": ("debounce", SECOND),
}


@dataclass
class Accepted:
    """The last accepted add of a deduplication id."""

    job: str
    number: int
    at: int


class Producers(Books):
    """Adds."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted: dict[str, Accepted] = {}

    def exists(self, add: Accepted) -> bool:
        life = self.lives.get(add.job)
        return life is not None and life.number == add.number

    @rule(kind=st.sampled_from(KINDS), count=st.integers(1, 4), twice=st.booleans())
    def add(self, kind: dict[str, Any], count: int, twice: bool) -> None:
        rows = [self.queue.row(**kind)] * count
        idem = {"idem": str(next(names))} if twice else {}
        reply = self.queue.enqueue(*rows, **idem)
        assert not twice or self.queue.enqueue(*rows, **idem) == reply
        for job_id in reply[1]:
            assert job_id.decode() not in self.lives
            self.born(job_id.decode(), kind)
        self.done("enqueue")

    @rule(job_id=st.sampled_from(["a", "b", "007", "12"]), kind=st.sampled_from(KINDS))
    def add_with_an_id(self, job_id: str, kind: dict[str, Any]) -> None:
        _, [accepted], _ = self.queue.enqueue(self.queue.row(**kind, job_id=job_id))
        assert bool(accepted) == (job_id not in self.lives)
        if accepted:
            self.born(job_id, kind)
        self.done("enqueue")

    @precondition(lambda self: self.groups)
    @rule(
        pick=st.integers(0, 9),
        kind=st.sampled_from(GROUP_KINDS),
        cost=st.sampled_from([None, None, 2_000, 5_000]),
        count=st.integers(1, 3),
    )
    def add_to_a_group(self, pick: int, kind: dict[str, Any], cost: int | None, count: int) -> None:
        key = sorted(self.groups)[pick % len(self.groups)]
        self.open_group(key)
        for job_id in self.queue.join(count, own=kind, key=key, cost=cost, **self.groups[key].settings()):
            self.born(job_id, kind, key, cost)
        self.done("enqueue")

    @rule(dedup_id=st.sampled_from(sorted(DEDUPLICATION)))
    def add_deduplicated(self, dedup_id: str) -> None:
        mode, ttl_ms = DEDUPLICATION[dedup_id]
        last = self.accepted.get(dedup_id)
        expected = last is None or mode == "debounce"
        if last is not None and mode == "simple":
            expected = not self.exists(last)
        elif last is not None and mode == "throttle":
            expected = self.queue.now - last.at >= ttl_ms
        extra: dict[str, Any] = {"dedup": {"id": dedup_id, "mode": mode, "ttl_ms": ttl_ms}}
        key = next(iter(sorted(self.groups)), None) if dedup_id.endswith("grouped") else None
        if key is not None:
            self.open_group(key)
            extra |= self.queue.extra(key, **self.groups[key].settings())
        _, [job_id], _ = self.queue.enqueue(self.queue.row(extra=extra))
        assert bool(job_id) == expected, (dedup_id, last)
        if job_id:
            if mode == "debounce" and last is not None and self.exists(last):
                life = self.lives[last.job]
                gone = not self.client.exists(self.queue.key(f"job:{last.job}"))
                assert not (gone and life.was_run), "a job was replaced that a processor has seen"
                assert not gone or self.state(last.job) in {
                    "delayed",
                    "waiting",
                    "group-waiting",
                    "prioritized",
                }
            life = self.born(job_id.decode(), {"dedup": dedup_id}, key)
            self.accepted[dedup_id] = Accepted(life.id, life.number, self.queue.now)
        self.done("enqueue")
