"""Rules of families: parents that wait for children of the same queue, which end in every way that there is."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.lua.families import add_flow, leaf, member, parent_row
from tests.model.books import ACCEPTED, FAILED, names
from tests.model.hosts import Hosts, picks, some_have_run

POLICIES = [None, None, "ignore", "remove", "continue"]


class Families(Hosts):
    """Parents and children."""

    @rule(policies=st.lists(st.sampled_from(POLICIES), min_size=1, max_size=3), grandparent=st.booleans())
    def add_a_family(self, policies: list[str | None], grandparent: bool) -> None:
        family = next(names)
        top, parent = f"g{family}", f"p{family}"
        children = [f"c{family}.{number}" for number in range(len(policies))]
        rows = [
            leaf(child, (self.queue, parent), on_failure=policy)
            for child, policy in zip(children, policies, strict=True)
        ]
        above = (self.queue, top) if grandparent else None
        rows.append(parent_row(parent, *(member(self.queue, child) for child in children), parent=above))
        if grandparent:
            rows.append(parent_row(top, member(self.queue, parent)))
        assert add_flow(self.queue, *rows) == [b"ok"]
        for child in children:
            self.born(child, {"parent": parent})
        self.born(parent, {"family": 1})
        self.families[parent] = set(children)
        if grandparent:
            self.born(top, {"family": 1})
            self.families[top] = {parent}
        self.done("enqueue")

    @precondition(some_have_run)
    @rule(pick=picks)
    def wait_for_children(self, pick: int) -> None:
        run = self.pick_run(pick)
        assert run is not None
        failing = int(self.picture.jobs.get(run.id, {}).get("x-py:depsFailing", 0)) > 0
        code = self.expect(run, FAILED if failing else ACCEPTED)
        row = [*run.fence, run.entry_id]
        assert self.queue.call("move_to_waiting_children", rows=[row])[2] == [code]
        self.settle(run, code)
        self.done("move_to_waiting_children")

    def check_families(self) -> None:
        """Whoever waits for children has one that has not ended."""
        for parent, children in self.families.items():
            if self.state(parent) == "waiting-children":
                states = {child: self.state(child) for child in children}
                assert set(states.values()) - {None, "completed", "failed"}, (parent, states)
