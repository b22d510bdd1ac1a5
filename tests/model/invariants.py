"""What must hold after every step, whatever has happened."""

from __future__ import annotations

from collections import Counter

from hypothesis.stateful import invariant

from tests.model.books import HOSTS
from tests.model.hosts import Hosts
from tests.model.moves import ENDED, is_legal
from tests.model.operators import Operators
from tests.model.places import PLACES, counts_of, places_of

ENDS = {"completed", "failed", "expired"}


class Invariants(Hosts, Operators):
    """One look at the server, and everything that is judged by it."""

    @invariant()
    def the_server_agrees(self) -> None:
        self.look()
        self.read_events()
        self.check_moves()
        self.check_deleted()
        self.check_places()
        self.check_counts()
        self.check_limits()
        self.check_starts()
        self.check_groups()
        self.check_families()
        self.check_ends()
        self.action = "none"

    def check_families(self) -> None:
        """See Families."""

    # -- moves

    def read_events(self) -> None:
        for event in self.picture.events:
            name, job_id = event["event"], event["jobId"]
            if name not in ENDS:
                continue
            self.told[name] += 1
            life = self.lives[job_id]
            life.ends += 1
            if name != "completed" and self.dead_letters and not life.revoked:
                self.letters[job_id] += 1

    def check_moves(self) -> None:
        for job_id, life in list(self.lives.items()):
            before, after = self.before.state(job_id), self.picture.state(job_id)
            assert is_legal(self.action, before, after), (self.action, job_id, before, after)
            if after in ENDED and life.starts == 0:
                life.lost_turn = True  # its group has gone on without it
            if after is None:
                removed = self.action in {"remove", "drain", "clean", "enqueue"} and before not in {
                    None,
                    *ENDED,
                }
                family = before == "waiting-children"
                assert removed or family or life.ends == life.retries + 1, (
                    f"{job_id} was removed before its end"
                )
                self.forget(job_id)
            else:
                assert (after == "active") == (life.holder is not None), (job_id, after)

    def forget(self, job_id: str) -> None:
        del self.lives[job_id]
        self.current.pop(job_id, None)

    # -- places

    def check_places(self) -> None:
        places = places_of(self.picture)
        for job_id in self.lives:
            state, where = self.state(job_id), places.pop(job_id, [])
            assert len(where) == 1, (job_id, state, where)
            assert state is not None
            assert where[0] in PLACES[state], (job_id, state, where)
        assert not places, "something of removed jobs is left"
        entries = {entry_id for entry_id, _ in self.picture.entries}
        assert set(self.picture.pending) <= entries, "a pending entry without an entry"
        assert self.picture.list_active == sum(len(cell) for cell in self.picture.cells.values())
        assert set(self.picture.cells) == set(HOSTS)

    def check_counts(self) -> None:
        status, counts = self.queue.call("get_counts")
        assert status == b"ok"
        assert {name.decode(): count for name, count in counts.items()} == counts_of(self.picture)

    # -- groups

    def check_groups(self) -> None:
        for key, group in self.groups.items():
            if group.issued:
                self.check_books_of(key)
                self.check_parked(key)

    def check_books_of(self, key: str) -> None:
        stored, group = self.picture.groups[key], self.groups[key]
        live = {life.id: life for life in self.lives.values() if life.group == key}
        live = {job_id: life for job_id, life in live.items() if self.state(job_id) not in ENDED}
        holders = {job_id for job_id in live if self.picture.jobs[job_id].get("x-py:slot") == "1"}
        assert int(stored.get("active", 0)) == len(holders), (stored, holders)
        for job_id in live:
            assert job_id in holders or self.state(job_id) != "active"
            assert job_id not in holders or self.state(job_id) != "group-waiting"
        next_seq = int(stored["nextSeq"])
        assert group.last_first_start < next_seq
        waiting = {life.seq for life in live.values()}
        for seq in range(next_seq, group.issued + 1):
            assert seq in waiting or f"skip:{seq}" in stored, f"{seq} holds its group for ever"

    def check_parked(self, key: str) -> None:
        """Somebody will look at parked jobs again."""
        stored, parked = self.picture.groups[key], self.picture.parked[key]
        if not parked or key in self.picture.sets["ratelimited"]:
            return
        mine = [job_id for job_id, life in self.lives.items() if life.group == key]
        if any(self.state(job_id) == "waiting" for job_id in mine):
            return  # its start, or its end without one, lets the others be looked at
        head = self.lives[parked[0]].seq
        assert head > int(stored["nextSeq"]) or int(stored["active"]) >= int(stored["maxConcurrency"]), (
            "nobody will look at the group again"
        )

    # -- ends

    def check_ends(self) -> None:
        """Each end of a job is told once; a retry by hand makes room for another."""
        for job_id, life in self.lives.items():
            assert life.ends == life.retries + (self.state(job_id) in ENDED), job_id
        assert Counter(self.picture.letters) == self.letters, "dead letters"
        expected = {
            "completed": self.told["completed"],
            "failed": self.told["failed"] + self.told["expired"],
        }
        for kind, ends in expected.items():
            counters = self.picture.metrics[kind]
            assert sum(int(count) for name, count in counters.items() if name.endswith(":c")) == ends, kind
