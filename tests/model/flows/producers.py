"""Rules of those who add flows: whole ones, written in several calls by producers that may die in between, and children
that come later."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from glidemq.commands.command import unpack
from glidemq.commands.enqueue import Family, JobRow
from glidemq.options.ordering import GroupOnWire
from tests.lua.families import add_flow, opts_of
from tests.model.flows.books import GROUP, QUEUES, FlowBooks, names
from tests.model.flows.kin import FlowQueue, Kin, Promised, Purse

POLICIES = [None, None, "ignore", "remove", "continue"]

picks = st.integers(0, 99)
where = st.integers(0, len(QUEUES) - 1)
somewhere = st.integers(0, 2 * len(QUEUES))
policies = st.sampled_from(POLICIES)
estimates = st.sampled_from([None, None, 0, 20, 70])
KINDS: list[dict[str, Any]] = [
    {}, {}, {}, {"priority": 2}, {"lifo": True}, {"delay_ms": 400}, {"ttl_ms": 3_000}
]  # fmt: skip

# With a concurrency of 1 a parent that waits once more would hold up children of its group for ever.
GROUPED = GroupOnWire(GROUP, 3, 0, 0, 0, 0)

# One job of a flow after its root: queue, policy, kind, the positions of those that wait for it, its estimate.
Other = tuple[int, str | None, dict[str, Any], list[int], int | None]
members = st.tuples(
    where, policies, st.sampled_from(KINDS), st.lists(picks, min_size=1, max_size=2), estimates
)


def _opts(policy: str | None, estimate: int | None) -> bytes:
    opts: dict[str, Any] = orjson.loads(opts_of(policy))
    return orjson.dumps(opts if estimate is None else opts | {"estimatedTokens": estimate})


class FlowProducers(FlowBooks):
    """Adds."""

    # -- whole flows

    @rule(
        root=where,
        others=st.lists(members, max_size=5),
        most=st.sampled_from([None, None, 40, 150]),
        on_exceeded=st.sampled_from(["fail", "pause"]),
        calls=st.sampled_from([99, 99, 99, 99, 1, 2]),
        grouped=st.sampled_from([False, False, True]),
    )
    def add_a_flow(
        self, root: int, others: list[Other], most: int | None, on_exceeded: str, calls: int, grouped: bool
    ) -> None:
        """calls: the producer dies after so many. grouped: its jobs are of one group in each queue."""
        family = next(names)
        kin = [Kin(f"{family}.0", self.queues[root])]
        purse = None if most is None else Purse(kin[0].id, self.queues[root], most)
        for number, (queue, policy, kind, above, estimate) in enumerate(others, 1):
            waits = list(dict.fromkeys(kin[pick % number].id for pick in above))
            kin.append(Kin(f"{family}.{number}", self.queues[queue], policy, waits, purse, estimate, kind))
        kin[0].purse = purse
        self.homes |= {job.id: job.queue for job in kin}
        for job in kin:
            job.is_grouped = grouped and "lifo" not in job.kind
            job.awaited = {other.name for other in kin if job.id in other.parents}
        limits = {kin[0].id: {"onExceeded": on_exceeded, "maxTotalTokens": str(most)}} if purse else {}
        for batch in self.batches(kin)[:calls]:
            budgets = limits if kin[0] in batch else {}
            assert add_flow(batch[0].queue, *map(self.row, batch), budgets=budgets) == [b"ok"]
            for job in batch:
                self.born(job)
        if purse and kin[0].id in self.kin:
            self.purses.append(purse)

    @staticmethod
    def batches(kin: list[Kin]) -> list[list[Kin]]:
        """The calls of a producer: one if it can be, else the parents first."""
        if len({job.queue.name for job in kin}) == 1:
            return [kin]
        parents = [job for job in kin if job.awaited]
        leaves = [job for job in kin if not job.awaited]
        batches: list[list[Kin]] = []
        for some in (parents, leaves):
            queues = {job.queue.name: job.queue for job in some}
            batches += [[job for job in some if job.queue is queue] for queue in queues.values()]
        return batches

    def row(self, kin: Kin) -> bytes:
        above = [(parent, self.homes[parent]) for parent in kin.parents]
        alone = above[0] if len(above) == 1 else None
        family = Family(children=sorted(kin.awaited))
        if len(above) > 1:
            family = family._replace(
                parents=[queue.key(parent) for parent, queue in above],
                parent_ids=orjson.dumps(kin.parents),
                parent_queues=orjson.dumps([queue.name for _, queue in above]),
            )
        return JobRow.pack(
            "job",
            "{}",
            _opts(kin.policy, kin.estimate),
            custom_id=kin.id,
            parent_id=alone[0] if alone else None,
            parent_queue=alone[1].name if alone else None,
            family=family,
            budget_key=kin.purse.key if kin.purse else None,
            group=GROUPED if kin.is_grouped else None,
            **({} if kin.awaited else kin.kind),
        )

    # -- children that come later

    @precondition(lambda self: self.kin)
    @rule(pick=picks, policy=policies, estimate=estimates, kind=st.sampled_from(KINDS), again=st.booleans())
    def add_a_child_beside_its_parent(
        self, pick: int, policy: str | None, estimate: int | None, kind: dict[str, Any], again: bool
    ) -> None:
        """In one call, as every producer may. Its parent may have ended."""
        parent = self.pick_job(pick, "active")
        assert parent is not None
        kin = self.new_child(again, parent.queue, policy, [parent.id], parent.purse)
        row = JobRow.pack(
            "job", "{}", _opts(policy, estimate), custom_id=kin.id, parent_id=parent.id,
            parent_queue=parent.queue.name, **kind,
        )  # fmt: skip
        assert self.enqueue(kin, row) == [kin.id.encode()]
        parent.expect(kin.name)
        self.born(kin)

    def enqueue(self, kin: Kin, row: bytes) -> list[Any]:
        status, ids, _ = kin.queue.call("enqueue", jobs=[unpack(row)])
        assert status == b"ok"
        found: list[Any] = ids
        return found

    @precondition(lambda self: self.kin)
    @rule(pick=picks, second=picks, queue=where, policy=policies, again=st.booleans())
    def promise_a_child(self, pick: int, second: int, queue: int, policy: str | None, again: bool) -> None:
        """To parents anywhere, by the first of two steps."""
        first, other = self.pick_job(pick, "active"), self.pick_job(second, "active", "waiting-children")
        assert first is not None and other is not None
        parents = [first] if second % 2 else list({kin.id: kin for kin in (first, other)}.values())
        kin = self.new_child(again, self.queues[queue], policy, [parent.id for parent in parents], None)
        registered: list[Kin] = []
        for parent in parents:
            reply = parent.queue.call("register_child", parents=[parent.id], member=kin.name)
            if self.state(parent.id) in {"completed", "failed"}:
                assert reply[0] == b"ended"
                self.withdraw(kin, registered)
                return
            assert reply[0] == b"ok"
            assert reply[1] == (parent.purse.key.encode() if parent.purse else False)
            kin.purse = kin.purse or parent.purse
            parent.expect(kin.name)
            registered.append(parent)
        self.homes[kin.id] = kin.queue
        self.promised.append(Promised(kin.id, kin.queue, policy, kin.parents, kin.purse))

    def withdraw(self, kin: Kin, parents: list[Kin]) -> None:
        for parent in parents:
            self.hear_children(parent.queue, [[parent.id, kin.name, "remove", "not added"]])

    @precondition(lambda self: self.promised)
    @rule(pick=picks, estimate=estimates, kind=st.sampled_from(KINDS), keeps=st.booleans())
    def keep_a_promise(self, pick: int, estimate: int | None, kind: dict[str, Any], keeps: bool) -> None:
        """Or take it back."""
        promised = self.promised.pop(pick % len(self.promised))
        kin = Kin(
            promised.id, promised.queue, promised.policy, promised.parents, promised.purse, estimate, kind
        )
        if keeps and kin.id not in self.kin:
            assert add_flow(kin.queue, self.row(kin)) == [b"ok"]
            self.born(kin)
        else:
            self.withdraw(kin, list(self.parents_of(kin)))

    def new_child(
        self, again: bool, queue: FlowQueue, policy: str | None, parents: list[str], purse: Purse | None
    ) -> Kin:
        """`again`: under a name that another job had, if there is one."""
        free = [kin.id for kin in self.gone if kin.queue is queue and not kin.awaited]
        free = [job_id for job_id in free if job_id not in self.kin]
        free = [job_id for job_id in free if all(job_id != other.id for other in self.promised)]
        free = [job_id for job_id in free if job_id not in parents]
        job_id = free[-1] if again and free else f"{next(names)}"
        return Kin(job_id, queue, policy, parents, purse)
