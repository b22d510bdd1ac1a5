"""What must hold of flows after every step, whatever has happened."""

from __future__ import annotations

from hypothesis.stateful import invariant

from tests.model.books import HOSTS
from tests.model.flows.books import GROUP
from tests.model.flows.kin import Kin, Purse
from tests.model.flows.people import People
from tests.model.flows.producers import FlowProducers
from tests.model.moves import ENDED
from tests.model.places import PLACES, counts_of, places_of

FORGOTTEN = "0"
DONE, FAILED, VALUE = "depdone:", "x-py:depfailed:", "x-py:depvalue:"


class FlowInvariants(FlowProducers, People):
    """One look at the server, and everything that is judged by it."""

    @invariant()
    def the_server_agrees(self) -> None:
        self.look()
        self.note_ends()
        self.check_letters()
        self.check_holders()
        for kin in self.kin.values():
            if kin.is_parent:
                self.check_books_of(kin)
            self.check_turn_of(kin)
            kin.may_go_on = False
        for queue in self.looked_at:
            self.check_places(queue.name)
            status, counts = queue.call("get_counts")
            assert status == b"ok"
            assert {name.decode(): count for name, count in counts.items()} == counts_of(
                self.pictures[queue.name]
            )
        for purse in self.purses:
            if purse.queue in self.looked_at:
                self.check_purse(purse)

    def check_letters(self) -> None:
        """Every end is told to every parent elsewhere, once."""
        more, fewer = self.posted - self.expected, self.expected - self.posted
        assert not more, f"nobody was to hear {more}"
        assert not fewer, f"nobody will hear {fewer}"

    def check_holders(self) -> None:
        for kin in self.kin.values():
            assert (self.state(kin.id) == "active") == (kin.holder is not None), (kin, self.state(kin.id))

    # -- parents

    def check_books_of(self, kin: Kin) -> None:
        """The parent knows what it was told, each piece of news once."""
        stored = self.stored(kin)

        def names_in(prefix: str) -> set[str]:
            return {field.removeprefix(prefix) for field in stored if field.startswith(prefix)}

        assert self.deps[kin.id] == kin.awaited, kin
        counted = {name for name in names_in(DONE) if stored[DONE + name] != FORGOTTEN}
        assert counted == kin.done, kin
        assert int(stored.get("depsCompleted", 0)) == len(kin.done), kin
        assert names_in(FAILED) == kin.failed, kin
        assert int(stored.get("x-py:depsFailing", 0)) == len(kin.failing), kin
        kept = {name: stored[VALUE + name] for name in names_in(VALUE)}
        assert kept == kin.kept, kin

    def check_turn_of(self, kin: Kin) -> None:
        """A parent waits as long as it has to, and no longer."""
        before, after = self.before[kin.queue.name].state(kin.id), self.state(kin.id)
        if after == "waiting-children":
            assert not kin.failing and not kin.has_all(), f"nobody will wake the parent {kin}"
        elif before == "waiting-children":
            may_run = kin.has_all() or kin.may_go_on
            reason = self.stored(kin).get("failedReason", "") if after == "failed" else ""
            of_child = any(reason.startswith(f"child {name} failed: ") for name in kin.failing)
            assert may_run or of_child or kin.revoked, f"a parent has not waited for all its children: {kin}"

    # -- places

    def check_places(self, queue: str) -> None:
        picture = self.pictures[queue]
        places = places_of(picture)
        for job_id in picture.jobs:
            state, where = self.state(job_id), places.pop(job_id, [])
            assert state is not None
            assert len(where) == 1, (job_id, state, where)
            assert where[0] in PLACES[state], (job_id, state, where)
        assert not places, "something of removed jobs is left"
        assert set(picture.pending) <= {entry_id for entry_id, _ in picture.entries}
        assert picture.list_active == sum(len(cell) for cell in picture.cells.values())
        assert set(picture.cells) == set(HOSTS)

        # Each job of the group that runs holds a slot of it, and nobody else but those about to.
        mine = {job_id: job for job_id, job in picture.jobs.items() if job.get("groupKey") == GROUP}
        slots = {job_id for job_id, job in mine.items() if job.get("x-py:slot") == "1"}
        slots = {job_id for job_id in slots if self.state(job_id) not in ENDED}
        assert int(picture.groups[GROUP].get("active", 0)) == len(slots), (picture.groups[GROUP], slots)
        assert {job_id for job_id in mine if self.state(job_id) == "active"} <= slots

    # -- budgets

    def check_purse(self, purse: Purse) -> None:
        if purse.is_lost:
            return
        status, flat, shares = purse.queue.call("get_budget", flow=purse.flow)
        assert status == b"ok"
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        used = float(fields[b"usedTokens"])
        reserved = float(dict(zip(shares[::2], shares[1::2], strict=True)).get(b"usedTokens", 0))
        self.look_at_guesses(purse)
        assert used <= purse.reported(), "more was counted than was reported"
        assert purse.reported() <= purse.most + purse.overrun(), "more was used than could be foreseen"
        if fields[b"exceeded"] == b"0":
            assert used <= purse.most
            assert used + reserved <= purse.most + purse.overrun() + 1e-6
