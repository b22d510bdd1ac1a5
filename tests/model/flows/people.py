"""Rules of the people who manage flows: at any moment, on any job."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.flows.books import FlowBooks, names
from tests.model.flows.kin import FlowQueue
from tests.model.flows.producers import picks, where
from tests.model.moves import ENDED, PLACED


def there_are_jobs(self: Any) -> bool:
    return bool(self.kin)


class People(FlowBooks):
    """Management."""

    @precondition(there_are_jobs)
    @rule(pick=picks, state=st.sampled_from(["active", "waiting-children", "placed"]))
    def revoke(self, pick: int, state: str) -> None:
        kin = self.pick_job(pick, *(sorted(PLACED) if state == "placed" else [state]))
        assert kin is not None
        reply = kin.queue.call("revoke", id=kin.id)
        assert reply[0] in (b"revoked", b"flagged")
        kin.revoked = True

    @precondition(there_are_jobs)
    @rule(pick=picks, state=st.sampled_from(["active", "waiting-children", "completed", "failed", "placed"]))
    def remove(self, pick: int, state: str) -> None:
        kin = self.pick_job(pick, *(sorted(PLACED) if state == "placed" else [state]))
        assert kin is not None
        assert kin.queue.call("remove", id=kin.id) == [b"ok", False]

    @precondition(there_are_jobs)
    @rule(pick=picks)
    def retry_job(self, pick: int) -> None:
        kin = self.pick_job(pick, "failed")
        assert kin is not None
        failed = self.state(kin.id) == "failed"
        assert kin.queue.call("retry_job", id=kin.id) == [b"ok" if failed else b"not_failed"]
        if failed:
            self.due.pop(kin.id, None)

    @precondition(there_are_jobs)
    @rule(pick=picks)
    def signal(self, pick: int) -> None:
        kin = self.pick_job(pick, "suspended", "suspended", "active")
        assert kin is not None
        state = self.state(kin.id)
        expected = "resumed" if state == "suspended" else "finished" if state in ENDED else "kept"
        reply = kin.queue.call("signal", id=kin.id, name="go", data="", idem=str(next(names)))
        assert reply == [expected.encode()]

    @precondition(there_are_jobs)
    @rule(
        pick=picks,
        change=st.sampled_from(
            [
                ("change_delay", {"delay_ms": 0}),
                ("change_delay", {"delay_ms": 2_000}),
                ("change_priority", {"priority": 0}),
                ("change_priority", {"priority": 5}),
                ("promote_job", {}),
            ]
        ),
    )
    def move(self, pick: int, change: tuple[str, dict[str, int]]) -> None:
        function, arguments = change
        kin = self.pick_job(pick, "delayed", "waiting", "prioritized")
        assert kin is not None
        kin.queue.call(function, id=kin.id, **arguments)
        self.due.pop(kin.id, None)

    # -- budgets

    @precondition(lambda self: self.purses)
    @rule(pick=picks, more=st.sampled_from([0, 50, 300]))
    def raise_a_budget(self, pick: int, more: int) -> None:
        purse = self.purses[pick % len(self.purses)]
        purse.most += more
        limits = ["maxTotalTokens", str(purse.most)]
        reply = purse.queue.call("update_budget", flow=purse.flow, set=limits, unset=[], limit=100)
        assert reply[0] == b"ok" or purse.is_lost

    # -- whole queues

    @rule(queue=where, what=st.integers(0, 40))
    def manage(self, queue: int, what: int) -> None:
        """Mostly something harmless: else most lives would end here."""
        home = self.queues[queue]
        if what == 0:
            self.obliterate(home)
        elif what <= 2:
            assert home.call("drain", delayed=what == 1)[0] == b"done"
        elif what <= 10:
            assert home.call("pause") == [b"ok"]
        elif what <= 20:
            assert home.call("resume") == [b"ok"]
        else:
            home.call("clean", state="completed" if what % 2 else "failed", grace_ms=0, limit=what % 4 + 1)

    def obliterate(self, home: FlowQueue) -> None:
        """Everything of a queue goes, untold."""
        assert home.call("obliterate", force=True, limit=1_000_000)[0] == b"done"
        home.create_group()
        self.deleting = home.name
        for purse in self.purses:
            purse.is_lost = purse.is_lost or home.name in purse.concerned
