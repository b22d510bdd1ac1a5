"""What the model remembers of one job of a flow, and of what its parents have heard of it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from tests.lua.driven_queue import DrivenQueue, Started, Stepped
from tests.lua.families import member

PATIENCE_MS = 60_000
DROPS, WAKES = "remove", "continue"

runs = itertools.count(1)


class FlowQueue(DrivenQueue):
    """Knows whether anything may have changed since somebody looked; its runs have names of their own."""

    touched = True

    def step(self, slots: int = 0, **arguments: Any) -> Stepped:
        return super().step(slots, run=f"{self.name}-{next(runs)}", **arguments)

    def call(self, function: str, **arguments: Any) -> list[Any]:
        self.touched = True
        return super().call(function, **arguments)


@dataclass(eq=False)
class Purse:
    """The budget of one flow, in the queue of its root."""

    flow: str
    queue: FlowQueue
    most: int
    said: dict[str, int] = field(default_factory=dict[str, int])  # what each run has reported, by token
    granted: dict[str, float] = field(default_factory=dict[str, float])  # what was reserved for it
    concerned: set[str] = field(default_factory=set[str])  # the queues of its flow's jobs
    is_lost: bool = False  # a queue was deleted that had something to say to it

    @property
    def key(self) -> str:
        return self.queue.key(f"budget:{self.flow}")

    def reported(self) -> int:
        return sum(self.said.values())

    def overrun(self) -> float:
        """What all runs together have used beyond what was reserved for them."""
        return sum(max(said - self.granted.get(token, 0), 0) for token, said in self.said.items())


@dataclass(eq=False)
class Kin:
    """One job, from its add to its removal, and its own books about its children, by their names."""

    id: str
    queue: FlowQueue
    policy: str | None = None
    parents: list[str] = field(default_factory=list[str])
    purse: Purse | None = None
    estimate: int | None = None
    kind: dict[str, Any] = field(default_factory=dict[str, Any])  # how it is added: delayed, prioritized, …
    is_grouped: bool = False
    # -- runs
    holder: str | None = None
    spent: str | None = None
    revoked: bool = False
    told: str | None = None  # how it ended last: completed, or what its failure means
    value: str | None = None  # what it returned, if its hash does not last
    # -- as a parent: what it has heard, in whatever order
    awaited: set[str] = field(default_factory=set[str])
    done: set[str] = field(default_factory=set[str])
    failing: set[str] = field(default_factory=set[str])
    failed: set[str] = field(default_factory=set[str])
    kept: dict[str, str] = field(default_factory=dict[str, str])  # return values that have no other place
    missing: dict[str, int] = field(
        default_factory=dict[str, int]
    )  # when a child was first looked for in vain
    woken_in: str | None = None  # the run in which it has heard that it is not to wait
    may_go_on: bool = False  # it has heard so in the action at hand

    @property
    def name(self) -> str:
        """As others know it."""
        return member(self.queue, self.id)

    @property
    def means(self) -> str:
        """What its failure means for its parents."""
        return self.policy or "fail_parent"

    @property
    def is_parent(self) -> bool:
        return bool(self.awaited or self.done or self.failing)

    def has_all(self) -> bool:
        return self.awaited <= self.done

    # -- hearing

    def expect(self, child: str) -> None:
        """A child is about to be added, perhaps under the name of an earlier one."""
        if child in self.done:
            self.done.discard(child)
            self.failed.discard(child)
            self.kept.pop(child, None)
        self.missing.pop(child, None)
        self.awaited.add(child)

    def hear(self, child: str, what: str, now: int, value: str | None = None) -> None:
        """What a piece of news changes; any number of times, it counts once."""
        if child not in self.awaited:
            return  # nobody waits for it (any more)
        if what == "missing":
            since = self.missing.setdefault(child, now)
            if now - since < PATIENCE_MS or now == since:
                return
            what = "fail_parent"
        if what == "completed":
            self.hear_completed(child, value)
        elif child in self.done:
            return
        elif what == "fail_parent":
            self.failing.add(child)
            self.failed.add(child)
        elif what == DROPS:
            self.awaited.discard(child)
            self.failing.discard(child)
            self.failed.discard(child)
        else:
            self.failing.discard(child)
            self.failed.add(child)
            self.done.add(child)
            if what == WAKES:
                self.may_go_on = True
                self.woken_in = self.holder

    def hear_completed(self, child: str, value: str | None) -> None:
        if value is not None and (child not in self.done or child in self.failed):
            self.kept[child] = value
        self.failed.discard(child)
        self.failing.discard(child)
        self.done.add(child)


@dataclass
class Page:
    """Letters that a messenger has read and not delivered yet: [entry id, kind, to, body]."""

    queue: FlowQueue
    letters: list[tuple[bytes, bytes, bytes, bytes]]


@dataclass
class Promised:
    """A child that its parents expect, and that is not there yet."""

    id: str
    queue: FlowQueue
    policy: str | None
    parents: list[str]
    purse: Purse | None


@dataclass
class Run:
    """One activation."""

    queue: FlowQueue
    started: Started

    @property
    def id(self) -> str:
        return self.started.id

    @property
    def token(self) -> str:
        return self.started.token
