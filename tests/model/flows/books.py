"""What the model remembers of flows over several queues, and how it looks at the server."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine, initialize

from glidemq.commands.command import unpack
from tests.lua.conftest import Call
from tests.model.books import ALREADY, FAILED, GONE, HOSTS, LEASE_LOST, PAST_MS
from tests.model.flows.kin import FlowQueue, Kin, Page, Promised, Purse, Run
from tests.model.moves import ENDED
from tests.model.picture import Picture, take_picture

# In a cluster the first two share a slot.
QUEUES = ("flows-a", "flows-b1357", "flows-c")
OUTBOX = "x-py:outbox"
GROUP = "k"

names = itertools.count()

News = tuple[str, str, str, str]  # the queue that posts, the parent, the child's name, what


class FlowBooks(RuleBasedStateMachine):
    """The books, and the rules' way to them."""

    client: Any
    call: Call

    def __init__(self) -> None:
        super().__init__()
        self.queues = [FlowQueue(self.client, name, self.call) for name in QUEUES]
        self.prefixes = {queue.key("").removesuffix(":"): queue for queue in self.queues}
        self.now = PAST_MS
        self.kin: dict[str, Kin] = {}
        self.homes: dict[str, FlowQueue] = {}  # of all jobs that ever were
        self.gone: list[Kin] = []  # whose names may be given again
        self.due: dict[str, int] = {}  # when jobs that were put off may start
        self.purses: list[Purse] = []
        self.runs: list[Run] = []
        self.promised: list[Promised] = []
        self.pages: list[Page] = []
        self.pictures: dict[str, Picture] = {queue.name: Picture() for queue in self.queues}
        self.before = self.pictures
        self.looked_at: list[FlowQueue] = []  # at the end of the action at hand
        self.deps: dict[str, set[str]] = {}
        self.letters: dict[str, dict[bytes, tuple[bytes, bytes, bytes]]] = {
            queue.name: {} for queue in self.queues
        }
        self.posted: Counter[News] = Counter()  # letters that have appeared
        self.expected: Counter[News] = Counter()
        self.completing: set[str] = set()  # ends that the action at hand has brought about
        self.deleting: str | None = None  # the queue that was obliterated

    @initialize()
    def prepare(self) -> None:
        self.set_time(self.now)
        for queue in self.queues:
            queue.create_group()

    def set_time(self, now: int) -> None:
        self.now = now
        for queue in self.queues:
            queue.now = now

    def some(self, which: int) -> list[FlowQueue]:
        """One queue, or more often all of them."""
        return [self.queues[which]] if which < len(self.queues) else self.queues

    # -- jobs

    def born(self, kin: Kin) -> None:
        self.kin[kin.id] = kin
        self.homes[kin.id] = kin.queue
        if kin.purse is not None:
            kin.purse.concerned |= {kin.queue.name, kin.purse.queue.name}

    def state(self, job_id: str) -> str | None:
        kin = self.kin.get(job_id)
        return None if kin is None else self.pictures[kin.queue.name].state(job_id)

    def stored(self, kin: Kin) -> dict[str, str]:
        return self.pictures[kin.queue.name].jobs.get(kin.id, {})

    def pick_job(self, pick: int, *states: str) -> Kin | None:
        """Mostly one in these states, if there is one."""
        fitting = [kin for kin in self.kin.values() if self.state(kin.id) in states] if pick % 4 else []
        among = fitting or list(self.kin.values())
        if not among:
            return None
        kin = among[pick // 4 % len(among)]
        note(f"job {kin.id}, {self.state(kin.id)}")
        return kin

    def parents_of(self, kin: Kin) -> Iterable[Kin]:
        return [self.kin[parent] for parent in kin.parents if parent in self.kin]

    # -- runs

    def current(self) -> list[Run]:
        held = {kin.holder for kin in self.kin.values()}
        return [run for run in self.runs if run.token in held]

    def pick_run(self, pick: int) -> Run | None:
        """Mostly one that counts."""
        among = (self.current() if pick % 5 else []) or self.runs
        if not among:
            return None
        run = among[pick // 5 % len(among)]
        note(f"run {run.token} of job {run.id}")
        return run

    def holds(self, run: Run) -> bool:
        kin = self.kin.get(run.id)
        return kin is not None and kin.holder == run.token

    def expect(self, run: Run, accepted: int) -> int:
        """The code of an outcome that would be accepted with this one."""
        kin = self.kin.get(run.id)
        if kin is None:
            return GONE
        if kin.holder == run.token:
            return FAILED if kin.revoked else accepted
        return ALREADY if kin.spent == run.token else LEASE_LOST

    def let_go(self, job_id: str, *, spent: bool) -> None:
        """The run in hand is over; `spent`: its holder has said so himself."""
        kin = self.kin[job_id]
        if kin.holder is not None:
            kin.spent = kin.holder if spent else None
        kin.holder = None

    # -- the server

    def the_server_agrees(self) -> None:
        """See FlowInvariants."""

    def look(self) -> None:
        self.before, self.pictures = self.pictures, dict(self.pictures)
        self.looked_at = [queue for queue in self.queues if queue.touched]
        for queue in self.looked_at:
            queue.touched = False
            ids = [kin.id for kin in self.kin.values() if kin.queue is queue]
            last_event = self.before[queue.name].last_event
            self.pictures[queue.name] = take_picture(queue, ids, HOSTS, (GROUP,), last_event)
        parents = [kin for kin in self.kin.values() if kin.is_parent and kin.queue in self.looked_at]
        pipe = self.client.pipeline(transaction=False)
        for queue in self.looked_at:
            pipe.xrange(queue.key(OUTBOX))
        for kin in parents:
            pipe.smembers(kin.queue.key(f"deps:{kin.id}"))
        replies = iter(pipe.execute())
        for queue in self.looked_at:
            self.note_letters(queue, next(replies))
        self.deps |= {kin.id: {name.decode() for name in next(replies)} for kin in parents}

    def note_letters(self, queue: FlowQueue, entries: list[Any]) -> None:
        known = self.letters[queue.name]
        found = {entry: (fields[b"kind"], fields[b"to"], fields[b"body"]) for entry, fields in entries}
        for entry, (kind, _, body) in found.items():
            if entry not in known and kind == b"child":
                parent, child, what = (text.decode() for text in unpack(body)[:3])
                self.posted[queue.name, parent, child, what] += 1
        self.letters[queue.name] = found

    # -- ends, and who hears of them

    def note_ends(self) -> None:
        """What has ended in the action at hand, and what parents in the same queue have heard by that."""
        for kin in list(self.kin.values()):
            before, after = self.before[kin.queue.name].state(kin.id), self.state(kin.id)
            if kin.queue.name == self.deleting:
                self.forget(kin)
                continue
            assert before not in ENDED or after is None or after in {*ENDED, "delayed"}, (kin.id, after)
            if after != before and (after is None or after in ENDED) and before not in ENDED:
                completed = after == "completed" or kin.id in self.completing
                kin.told = "completed" if completed else kin.means
                for parent in kin.parents:
                    self.tell(kin, parent, kin.told)
        for kin in list(self.kin.values()):
            if self.state(kin.id) is None:
                self.forget(kin)
        self.completing.clear()
        self.deleting = None

    def tell(self, kin: Kin, parent_id: str, what: str) -> None:
        if self.homes[parent_id] is not kin.queue:
            self.expected[kin.queue.name, parent_id, kin.name, what] += 1
        elif parent_id in self.kin:
            self.kin[parent_id].hear(kin.name, what, self.now, kin.value if what == "completed" else None)

    def hear_children(self, queue: FlowQueue, rows: list[Any]) -> None:
        """News for the parents in one queue: parent, child's name, what, text."""
        for parent, child, what, text in rows:
            if parent in self.kin and self.kin[parent].queue is queue:
                self.kin[parent].hear(child, what, self.now, (text or None) if what == "completed" else None)
        assert queue.call("hear_children", rows=rows)[0] == b"ok"

    def forget(self, kin: Kin) -> None:
        del self.kin[kin.id]
        self.due.pop(kin.id, None)
        self.gone.append(kin)
