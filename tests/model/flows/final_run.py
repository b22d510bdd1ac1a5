"""The end of a life: letters arrive, hosts work, people raise budgets and send signals; every flow has to end."""

from __future__ import annotations

from tests.model.books import HOSTS, LOCK_MS
from tests.model.final_run import DAY_MS, KEPT
from tests.model.flows.books import GROUP, OUTBOX, names
from tests.model.flows.invariants import FlowInvariants
from tests.model.flows.kin import FlowQueue, Kin
from tests.model.moves import ENDED

LARGE = 10**9
MINUTE_MS = 60_000


class FlowFinalRun(FlowInvariants):
    """Teardown."""

    def teardown(self) -> None:
        try:
            self.the_server_agrees()
            self.lift_limits()
            self.run_everything_that_is_left()
            self.budgets_are_settled()
            self.nothing_stays_behind()
        finally:
            for queue in self.queues:
                keys = [queue.key(suffix) for suffix in queue.suffixes()]
                if keys:
                    self.client.unlink(*keys)

    def lift_limits(self) -> None:
        for queue in self.queues:
            queue.call("resume")
        while self.pages:
            self.deliver_page(self.pages.pop())
            self.the_server_agrees()

    def left(self) -> list[Kin]:
        return [kin for kin in self.kin.values() if self.state(kin.id) not in ENDED]

    def run_everything_that_is_left(self) -> None:
        for _ in range(60 + 20 * len(self.kin)):
            if not self.left() and not any(self.letters.values()):
                return
            moved = self.carry_everything()
            for queue in self.queues:
                moved |= self.work_off(queue)
            if not moved:
                self.help()
        assert not self.left(), "some jobs never end"

    def carry_everything(self) -> bool:
        moved = False
        for queue in self.queues:
            page = self.read_page(queue, 100)
            if page.letters:
                self.deliver_page(page)
                self.the_server_agrees()
                moved = True
        return moved

    def work_off(self, queue: FlowQueue) -> bool:
        done = [run for run in self.current() if run.queue is queue]
        stepped = self.step(queue, 4, HOSTS[0], done)
        self.the_server_agrees()
        for job_id in self.pictures[queue.name].sets["suspended"]:
            queue.call("signal", id=job_id, name="go", data="", idem=str(next(names)))
            self.the_server_agrees()
        return bool(stepped.started or done)

    def help(self) -> None:
        """Only time can help now, or people."""
        for purse in self.purses:
            purse.most = LARGE
            limits = ["maxTotalTokens", str(purse.most)]
            purse.queue.call("update_budget", flow=purse.flow, set=limits, unset=[], limit=100)
        self.set_time(self.now + MINUTE_MS)
        for queue in self.queues:
            self.look_after_parents_of(queue)
            self.take_over(queue, 99, LOCK_MS)
        self.the_server_agrees()

    # -- what is left

    def budgets_are_settled(self) -> None:
        for purse in self.purses:
            if purse.is_lost:
                continue
            status, flat, shares = purse.queue.call("get_budget", flow=purse.flow)
            assert status == b"ok"
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            assert float(fields[b"usedTokens"]) == purse.reported()
            assert all(float(share) == 0 for share in shares[1::2]), shares
            for what in ("flying", "waiting", "paused"):
                assert not self.client.exists(purse.queue.key(f"x-py:budget-{what}:{purse.flow}")), what
        for queue in self.queues:
            assert not self.client.exists(queue.key("x-py:allowances"))

    def nothing_stays_behind(self) -> None:
        for queue in self.queues:
            for state in sorted(ENDED):
                assert queue.call("clean", state=state, grace_ms=0, limit=1_000_000)
        self.the_server_agrees()
        assert not self.kin
        for _ in range(2):
            self.set_time(self.now + DAY_MS)
            for queue in self.queues:
                queue.call("check_parents", limit=100)
                queue.recover_stalled(lock_ms=LOCK_MS)
                assert queue.step(4, consumer=HOSTS[0]).started == []
        for queue in self.queues:
            for suffix in queue.suffixes():
                # That of a budget is glide-mq's, which never ends.
                bounded = KEPT.fullmatch(suffix) or suffix.startswith("budget:")
                assert bounded or self.client.pttl(queue.key(suffix)) > 0, f"{suffix} is left behind"
            assert self.client.xlen(queue.key("stream")) == 0
            assert int(self.client.hget(queue.key(f"group:{GROUP}"), "active") or 0) == 0
            assert not self.client.exists(queue.key(OUTBOX))
