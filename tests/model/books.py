"""What the model remembers of a queue, and how a rule writes it down."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine, initialize

from tests.lua.conftest import Call
from tests.lua.driven_queue import Started
from tests.lua.grouped_queue import GroupedQueue
from tests.model.picture import Picture, take_picture

HOSTS = ("h1", "h2", "h3")
ACCEPTED, ALREADY, GONE, LEASE_LOST, RETRYING, FAILED, REVOKED, NO_GROUP, PUT_OFF = range(1, 10)
LOCK_MS = 30_000
# A time in the past: the server gives entries their ids by its own clock, never before the add that they come from.
PAST_MS = 1_700_000_000_000

names = itertools.count()


@dataclass
class Life:
    """One job, from its add to its removal."""

    id: str
    number: int  # of the add
    own: dict[str, Any]  # what it was added with
    group: str | None = None
    seq: int = 0
    cost: int = 1_000
    holder: str | None = None  # the only token that may decide about it
    spent: str | None = None  # the last token whose outcome was recorded
    revoked: bool = False
    starts: int = 0
    was_run: bool = False  # a processor has seen it
    touched: bool = False  # somebody has moved it: it need not keep the order of the adds
    ends: int = 0
    retries: int = 0  # by hand
    lost_turn: bool = False  # others of its group may go first

    @property
    def is_plain(self) -> bool:
        """Added without anything, and left alone since: its first start is in the order of the adds."""
        return not self.own and not self.group and not self.touched


@dataclass
class GroupBooks:
    """One ordering group: the settings that every add gives, and what has happened in it."""

    concurrency: int
    rate: tuple[int, int] | None = None
    bucket: tuple[int, int] | None = None
    issued: int = 0
    last_first_start: int = 0
    paused_until: int = 0
    loosened: bool = False  # the concurrency was above 1 at some time
    opened_at: int = 0
    starts: dict[str, tuple[int, int]] = field(
        default_factory=dict[str, tuple[int, int]]
    )  # by token: time, cost; not those taken back

    def settings(self) -> dict[str, Any]:
        return {"concurrency": self.concurrency, "rate": self.rate, "bucket": self.bucket}


class Books(RuleBasedStateMachine):
    """The books, and the rules' way to them: call the server, write down what the reply says, name the action."""

    client: Any
    call: Call
    group_settings: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.queue = GroupedQueue(self.client, f"model-{id(self)}-{next(names)}", self.call)
        self.queue.now = PAST_MS
        self.lives: dict[str, Life] = {}
        self.adds = 0
        self.runs: list[Started] = []
        self.current: dict[str, Started] = {}  # the run of each job in hand
        self.held: dict[str, dict[str, Started]] = {host: {} for host in HOSTS}  # what hosts remember
        self.claimed: dict[str, list[tuple[str, str]]] = {host: [] for host in HOSTS}
        self.groups = {key: GroupBooks(**given) for key, given in self.group_settings.items()}
        self.told: Counter[str] = Counter()  # ends by event
        self.letters: Counter[str] = Counter()
        self.dead_letters = False
        self.paused = False
        self.concurrency = 0
        self.rate = 0
        self.starts: dict[str, int] = {}  # under the global rate limit, by token
        self.foreign_refunds = (
            0  # of starts before the limit was set: nobody notes whether those were counted
        )
        self.window_opened = 0
        self.families: dict[str, set[str]] = {}  # children by parent
        self.picture = Picture()
        self.before = Picture()
        self.action = "none"

    @initialize()
    def prepare(self) -> None:
        self.queue.create_group()

    # -- jobs

    def born(
        self, job_id: str, own: dict[str, Any], group: str | None = None, cost: int | None = None
    ) -> Life:
        self.adds += 1
        life = Life(job_id, self.adds, own, group, cost=cost or 1_000)
        if group is not None:
            self.groups[group].issued += 1
            life.seq = self.groups[group].issued
        self.lives[job_id] = life
        return life

    def open_group(self, key: str) -> None:
        group = self.groups[key]
        group.opened_at = group.opened_at or self.queue.now
        group.loosened = group.loosened or group.concurrency > 1

    def state(self, job_id: str) -> str | None:
        return self.picture.state(job_id)

    def pick_job(self, pick: int, *states: str) -> str | None:
        """Mostly one in these states, if there is one."""
        fitting = [job_id for job_id in self.lives if self.state(job_id) in states] if pick % 4 else []
        among = fitting or list(self.lives)
        if not among:
            return None
        job_id = among[pick // 4 % len(among)]
        note(f"job {job_id}, {self.state(job_id)}")
        return job_id

    # -- runs

    def pick_run(self, pick: int) -> Started | None:
        """Mostly one that counts."""
        among = list(self.current.values()) if pick % 5 else []
        among = among or self.runs
        if not among:
            return None
        run = among[pick // 5 % len(among)]
        note(f"run {run.token} of job {run.id}")
        return run

    def expect(self, run: Started, accepted: int) -> int:
        """The code of an outcome that would be accepted with this one."""
        life = self.lives.get(run.id)
        if life is None:
            return GONE
        if life.holder == run.token:
            return FAILED if life.revoked else accepted
        return ALREADY if life.spent == run.token else LEASE_LOST

    def holds(self, run: Started) -> bool:
        return run.id in self.lives and self.lives[run.id].holder == run.token

    def let_go(self, job_id: str, *, spent: bool, was_run: bool = True) -> None:
        """The run in hand is over; `spent`: its holder has said so himself."""
        life = self.lives[job_id]
        if life.holder is not None:
            life.spent = life.holder if spent else None
            life.was_run = life.was_run or was_run
            if not was_run:
                self.take_back_start(life, life.holder)
        life.holder = None
        self.current.pop(job_id, None)
        for jobs in self.held.values():
            if spent:
                jobs.pop(job_id, None)

    def take_back_start(self, life: Life, token: str) -> None:
        if self.rate and self.starts.pop(token, None) is None:
            self.foreign_refunds += 1
        if life.group is not None:
            self.groups[life.group].starts.pop(token, None)

    # -- the server

    def done(self, action: str) -> None:
        """The rule has called the server: nothing may have moved but what this action moves."""
        self.action = action

    def look(self) -> None:
        self.before = self.picture
        self.picture = take_picture(self.queue, self.lives, HOSTS, self.groups, self.before.last_event)
