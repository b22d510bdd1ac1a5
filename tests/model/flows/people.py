"""Rules of the people who manage flows: at any moment, on any job."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.books import HOSTS, LOCK_MS
from tests.model.flows.books import names
from tests.model.flows.hosts import FlowHosts
from tests.model.flows.kin import FlowQueue, Kin
from tests.model.flows.producers import picks, where
from tests.model.moves import ENDED, PLACED

Action = tuple[Any, ...]
# What somebody does to a job: the method below, the states in which it is mostly done, and its arguments.
ACTIONS: list[Action] = [
    ("retry_job", ("failed",)),
    ("retry_job", ("failed",)),
    ("retry_job", ("failed",)),
    ("revoke", ("active",)),
    ("revoke", ("waiting-children",)),
    ("revoke", tuple(sorted(PLACED))),
    ("remove", ("active",)),
    ("remove", ("waiting-children",)),
    ("remove", ("completed", "failed")),
    ("remove", tuple(sorted(PLACED))),
    ("signal", ("suspended",)),
    ("signal", ("active",)),
    ("move", ("delayed", "waiting"), "change_delay", {"delay_ms": 0}),
    ("move", ("delayed", "waiting"), "change_delay", {"delay_ms": 2_000}),
    ("move", ("waiting", "prioritized"), "change_priority", {"priority": 0}),
    ("move", ("waiting", "prioritized"), "change_priority", {"priority": 5}),
    ("move", ("delayed",), "promote_job", {}),
]
MEASURES = [
    *8 * ["retry_all"], *4 * ["raise"], *3 * ["resume"], "pause", *3 * ["clean"], "drain", "obliterate",
    *3 * ["end_and_start"], *2 * ["find_orphans"], *3 * ["take_over"], "promote", *6 * ["look_after_parents"],
]  # fmt: skip


class People(FlowHosts):
    """Management, and what hosts do now and then."""

    @precondition(lambda self: self.kin)
    @rule(pick=picks, action=st.sampled_from(ACTIONS))
    def somebody(self, pick: int, action: Action) -> None:
        how, states, *arguments = action
        kin = self.pick_job(pick, *states)
        assert kin is not None
        getattr(self, how)(kin, *arguments)

    def revoke(self, kin: Kin) -> None:
        assert kin.queue.call("revoke", id=kin.id)[0] in (b"revoked", b"flagged")
        kin.revoked = True

    def remove(self, kin: Kin) -> None:
        assert kin.queue.call("remove", id=kin.id) == [b"ok", False]

    def retry_job(self, kin: Kin) -> None:
        failed = self.state(kin.id) == "failed"
        assert kin.queue.call("retry_job", id=kin.id) == [b"ok" if failed else b"not_failed"]
        if failed:
            self.due.pop(kin.id, None)

    def signal(self, kin: Kin) -> None:
        state = self.state(kin.id)
        expected = "resumed" if state == "suspended" else "finished" if state in ENDED else "kept"
        reply = kin.queue.call("signal", id=kin.id, name="go", data="", idem=str(next(names)))
        assert reply == [expected.encode()]

    def move(self, kin: Kin, function: str, arguments: dict[str, int]) -> None:
        kin.queue.call(function, id=kin.id, **arguments)
        self.due.pop(kin.id, None)

    # -- whole queues, and budgets

    @rule(queue=where, measure=st.sampled_from(MEASURES), number=picks)
    def manage(self, queue: int, measure: str, number: int) -> None:
        home = self.queues[queue]
        if measure == "retry_all":
            self.retry_all(home)
        elif measure == "raise":
            self.raise_a_budget(number)
        elif measure == "end_and_start":
            self.end_and_start(home, number)
        elif measure == "find_orphans":
            self.find_orphans(home, HOSTS[number % 3])
        elif measure == "take_over":
            self.take_over(home, number % 4, LOCK_MS // 3)
        elif measure == "promote":
            home.promote_due()
        elif measure == "look_after_parents":
            self.set_time(self.now + number % 3 * 31_000)
            self.look_after_parents_of(home)
        elif measure in ("pause", "resume"):
            assert home.call(measure) == [b"ok"]
        elif measure == "clean":
            home.call(
                "clean", state="completed" if number % 2 else "failed", grace_ms=0, limit=number % 4 + 1
            )
        elif measure == "drain":
            assert home.call("drain", delayed=number % 2 == 1)[0] == b"done"
        elif number % 4 == 0:  # else too many lives would end here
            self.obliterate(home)

    def retry_all(self, home: FlowQueue) -> None:
        reply = home.call("retry_jobs", count=False)
        while reply[0] == b"more":
            reply = home.call("retry_jobs", count=False, retried=reply[1], before=reply[2])
        assert reply[0] == b"done"
        for kin in self.kin.values():
            if kin.queue is home and self.state(kin.id) == "failed":
                self.due.pop(kin.id, None)

    def raise_a_budget(self, number: int) -> None:
        if not self.purses:
            return
        purse = self.purses[number % len(self.purses)]
        purse.most += number % 3 * 50
        limits = ["maxTotalTokens", str(purse.most)]
        reply = purse.queue.call("update_budget", flow=purse.flow, set=limits, unset=[], limit=100)
        assert reply[0] == b"ok" or purse.is_lost

    def obliterate(self, home: FlowQueue) -> None:
        """Everything of a queue goes, untold."""
        assert home.call("obliterate", force=True, limit=1_000_000)[0] == b"done"
        home.create_group()
        self.deleting = home.name
        for purse in self.purses:
            purse.is_lost = purse.is_lost or home.name in purse.concerned
